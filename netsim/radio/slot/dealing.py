"""Dealing of the resource blocks of a slot to the signals on the air."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netsim.radio.scheduling import SchedulingGrant
from netsim.streams import Floats

Rows = NDArray[np.intp]
Promised = Callable[[], Floats]
"""The rate in bit/s/Hz that each transmission (a row) would have of a resource block (a column) if all were its own;
one column holds for all blocks where all frequencies are alike."""

GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it modulo one are spread evenly however many are taken."""


LEAST = 1e-12
"""An average rate in bit/s/Hz to divide by when there has been none."""


class Dealer(Protocol):
    """Deals the resource blocks of slot after slot to transmissions, which go by their rows."""

    def joined(self, grants: Sequence[SchedulingGrant], promised: Promised) -> None:
        """These, and no more, are going on: those that are new come last."""
        ...

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Some have left."""
        ...

    def sending(self) -> Floats | None:
        """The part of slots in which each transmission gets something; None if that is not known in advance."""
        ...

    def owners(self, number: int, promised: Promised) -> Rows:
        """The signal that each resource block of a slot goes to, -1 for none."""
        ...

    def spared(self, promised: Promised, hungry: NDArray[np.bool_]) -> Rows | None:
        """The row that each resource block goes to whose owner has no use for it; None leaves it unused.

        `hungry` are the rows that could use more.
        """
        ...

    def served(self, efficiency: Floats) -> None:
        """Take note of what each signal has had in the slot, in bit/s/Hz over the whole band."""
        ...


class GrantedShares:
    """Deals out what grants say: parts of the band in every slot, or whole slots where all have the whole band.

    Parts of the band go by systematic sampling: in every slot a transmission gets its number of blocks, rounded up or
    down, and over many slots exactly its part. Slots go to the signal that is owed most, with equal parts in turns;
    where time is `lent`, what the owner of a slot leaves of it goes to the next.
    """

    def __init__(self, resource_blocks: int, *, lent: bool = True) -> None:
        self.resource_blocks, self.lent = resource_blocks, lent
        self._bands = self._times = self._borders = np.zeros(0)
        self._alternate = False
        self._owed = np.zeros(1)
        self._numbers = np.arange(2 * resource_blocks) % resource_blocks

    def joined(self, grants: Sequence[SchedulingGrant], promised: Promised) -> None:
        self._bands = np.array([grant.band for grant in grants])
        self._times = np.array([grant.time for grant in grants])
        owed = np.zeros(len(grants) + 1)  # the last is none, to which the rest of the time belongs
        owed[: len(self._owed) - 1] = self._owed[:-1]
        self._owed = owed - owed.mean()
        self._prepare()

    def keep(self, rows: NDArray[np.bool_]) -> None:
        self._bands, self._times = self._bands[rows], self._times[rows]
        self._owed = self._owed[np.append(rows, True)]
        self._prepare()

    def _prepare(self) -> None:
        """Set what follows from the parts, until they change again."""
        self._borders, self._alternate = self._bands.cumsum(), bool((self._times < 1).any())

    def sending(self) -> Floats | None:
        parts: Floats = self._times * np.minimum(1.0, self._bands * self.resource_blocks)
        return parts

    def owners(self, number: int, promised: Promised) -> Rows:
        if self._alternate:
            return np.full(self.resource_blocks, self._next())
        first = number % self.resource_blocks  # one block further in every slot: none stays where its channel is bad
        at = self._numbers[first : first + self.resource_blocks] + (0.5 + number * GOLDEN) % 1
        owners = self._borders.searchsorted(at / self.resource_blocks, side="right")
        owners[owners == len(self._bands)] = -1
        return owners

    def spared(self, promised: Promised, hungry: NDArray[np.bool_]) -> Rows | None:
        if not self.lent or not self._alternate:
            return None
        return np.full(self.resource_blocks, np.argmax(np.where(hungry, self._owed[:-1], -np.inf)))

    def _next(self) -> int:
        self._owed[:-1] += self._times
        self._owed[-1] += max(0.0, 1 - self._times.sum())
        turn = int(np.argmax(self._owed))
        self._owed[turn] -= 1
        return -1 if turn == len(self._times) else turn

    def served(self, efficiency: Floats) -> None:
        """Parts do not depend on what was served."""


class BestLinks:
    """Each resource block goes to the transmission with the largest rate, by itself or over its average rate."""

    def __init__(self, resource_blocks: int, forgotten: float | None) -> None:
        """`forgotten` is the part of the average that is replaced in a slot; None looks at the rate alone."""
        self.resource_blocks, self.forgotten = resource_blocks, forgotten
        self._averages = np.zeros(0)

    def joined(self, grants: Sequence[SchedulingGrant], promised: Promised) -> None:
        new = promised()[len(self._averages) :].mean(axis=1) / len(grants)  # as under equal shares
        self._averages = np.concatenate([self._averages, np.maximum(new, LEAST)])

    def keep(self, rows: NDArray[np.bool_]) -> None:
        self._averages = self._averages[rows]

    def sending(self) -> Floats | None:
        return None

    def owners(self, number: int, promised: Promised) -> Rows:
        return self._best(promised())

    def spared(self, promised: Promised, hungry: NDArray[np.bool_]) -> Rows | None:
        return self._best(promised() * hungry[:, None])

    def _best(self, rates: Floats) -> Rows:
        best = np.argmax(rates if self.forgotten is None else rates / self._averages[:, None], axis=0)
        best[rates.max(axis=0) <= 0] = -1
        return np.full(self.resource_blocks, best) if len(best) == 1 else best

    def served(self, efficiency: Floats) -> None:
        if self.forgotten is not None:
            self._averages += self.forgotten * (efficiency - self._averages)
            np.maximum(self._averages, LEAST, out=self._averages)
