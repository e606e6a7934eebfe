"""Sequences whose items are made when they are needed, so that users who never take part take no memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

T = TypeVar("T")

AT_ONCE = 10_000
"""Number of users up to which the values of all are drawn at once."""


class Lazy(Sequence[T]):
    """`count` items by number from 0; each is made when it is first needed, and kept until `forget`."""

    def __init__(self, count: int, make: Callable[[int], T], *, now: bool = False) -> None:
        """Begin without items, or (`now`) with all of them; `make` makes the one with a number."""
        self._count, self._make = count, make
        self.made: dict[int, T] = {}
        """The items that exist, by number, in the order in which they were made."""
        for number in range(count) if now else ():
            self.made[number] = make(number)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> T: ...

    @overload
    def __getitem__(self, number: slice) -> list[T]: ...

    def __getitem__(self, number: int | slice) -> T | list[T]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(self._count))]
        if number not in self.made:
            if not 0 <= number < self._count:
                raise IndexError(number)
            self.made[number] = self._make(number)
        return self.made[number]

    def __setitem__(self, number: int, item: T) -> None:
        self.made[number] = item

    def forget(self) -> None:
        """Drop all items; they are made anew when they are needed again."""
        self.made.clear()


class Each(Sequence[T]):
    """`count` items by number from 0; each is made whenever it is needed."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        """`make` makes the item with a number."""
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> T:  # type: ignore[override]  # no slices
        if not 0 <= number < self._count:
            raise IndexError(number)
        return self._make(number)


def drawn(count: int, draw: Callable[[Sequence[int]], list[T]]) -> Sequence[T]:
    """Return the values of users 0 to `count` - 1: drawn at once for up to AT_ONCE users, else each when it is needed.

    `draw` returns the values of the users with given numbers, each of which depends on its own number only.
    """
    return draw(range(count)) if count <= AT_ONCE else Each(count, lambda user: draw([user])[0])
