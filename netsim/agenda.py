"""An agenda: items with one due time each, which can be rescheduled or removed."""

from __future__ import annotations

import heapq
from itertools import count
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T")

SPARE = 64
"""Number of outdated entries that an agenda may hold before it is rebuilt."""


class Agenda(Generic[T]):
    """A priority queue of hashable items by due time: a heap with lazy deletion of outdated entries.

    Items that are due at the same time are in the order in which they were scheduled for it.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, T]] = []  # a heap
        self._valid: dict[T, tuple[float, int, T]] = {}
        self._order = count()

    def __len__(self) -> int:
        """Number of entries of the heap, with outdated ones."""
        return len(self._entries)

    @property
    def next_s(self) -> float:
        """Due time of the first item; inf if the agenda is empty."""
        entries = self._entries
        if entries and (self._valid.get(entries[0][2]) is not entries[0] or len(entries) > len(self._valid) + SPARE):
            self._trim()
        return self._entries[0][0] if self._entries else inf

    def put(self, item: T, due_s: float) -> None:
        """Schedule or reschedule an item for the time `due_s`; inf removes it."""
        known = self._valid.get(item)
        if known is not None and known[0] == due_s:
            return
        if due_s < inf:
            entry = self._valid[item] = due_s, next(self._order), item
            heapq.heappush(self._entries, entry)
        elif known is not None:
            del self._valid[item]

    def drop(self, item: T) -> None:
        """Remove an item, if it is on the agenda."""
        self._valid.pop(item, None)

    def pop(self) -> T:
        """Remove and return the first item. Raises IndexError if the agenda is empty."""
        self._trim()
        item = heapq.heappop(self._entries)[2]
        del self._valid[item]
        return item

    def _trim(self) -> None:
        """Delete outdated entries: those in front, and all of them if they are many."""
        if len(self._entries) > len(self._valid) + SPARE:
            self._entries = list(self._valid.values())
            heapq.heapify(self._entries)
        while self._entries and self._valid.get(self._entries[0][2]) is not self._entries[0]:
            heapq.heappop(self._entries)
