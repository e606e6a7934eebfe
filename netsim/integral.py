"""Integrals over time of piecewise constant functions, such as rates, speeds and powers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice
from math import inf
from operator import mul, sub

import numpy as np

AT_ONCE = 256
"""Number of blocks above which NumPy is faster than a loop that ends at the first block of interest."""


class Integral:
    """The integral of a function that is constant within blocks of time, from the first border on.

    Few blocks are integrated as far as asked for, many all at once; the sums have the same bits, from left to right.
    """

    __slots__ = ("_more", "_rest", "borders_s", "cumulative", "values")

    def __init__(
        self, borders_s: Sequence[float], values: Sequence[float], more: Callable[[int], list[float]] | None = None
    ) -> None:
        """Integrate a function.

        Args:
            borders_s: borders of the blocks in seconds, ascending, length blocks + 1; the last may be inf. Numbers are
                read one by one: a list, or the memoryview of an array, is faster than an array.
            values: values of the function in the blocks, length blocks, or a list of those in the first ones.
            more: returns the values of one or more blocks from a block on; None if `values` are all.
        """
        self.borders_s, self.values, self._more = borders_s, values, more
        self.cumulative: Sequence[float] = [0.0]
        """The integral from the first border to each border, as far as it is known; at most of length blocks + 1."""
        self._rest: Iterator[float] | None = None
        if len(values) > AT_ONCE:
            cumulative = np.zeros(len(borders_s))
            widths_s = np.diff(borders_s)
            if values[-1] == 0.0:  # also if the last width is inf, where the product would be NaN
                widths_s[-1] = 0.0
            np.cumsum(values * widths_s, out=cumulative[1:])
            self.cumulative = cumulative.data

    def value(self, block: int) -> float:
        """Return the value in the block of this number."""
        if block >= len(self.values):
            self._reach(block)
        return self.values[block]

    def until(self, block: int, instant_s: float) -> float:
        """Return the integral from the first border to an instant in seconds within the block of number `block`."""
        if block >= len(self.cumulative):
            self._reach(block)
        return self.cumulative[block] + self.values[block] * (instant_s - self.borders_s[block])

    def crossing_s(self, amount: float) -> float:
        """Return the first instant in seconds at which the integral reaches `amount`; inf if after the last border."""
        while self.cumulative[-1] < amount and len(self.cumulative) < len(self.borders_s):
            self._reach(2 * len(self.cumulative))
        block = bisect_left(self.cumulative, amount) - 1
        if block < 0:
            return self.borders_s[0]
        if block == len(self.borders_s) - 1:
            return inf
        return self.borders_s[block] + (amount - self.cumulative[block]) / self.values[block]

    @property
    def total(self) -> float:
        """The integral from the first to the last border."""
        self._reach(len(self.borders_s) - 1)
        return self.cumulative[-1]

    def _reach(self, block: int) -> None:
        """Integrate at least up to the border of number `block`, or to the last one."""
        if not isinstance(self.cumulative, list) or block < len(self.cumulative):
            return
        while block >= len(self.values) < len(self.borders_s) - 1 and self._more is not None:
            self.values = [*self.values, *self._more(len(self.values))]
            self._rest = None
        if self._rest is None:
            begun = len(self.cumulative) - 1
            ends_s: Iterator[float] = islice(self.borders_s, begun + 1, None)
            if self.borders_s[-1] == inf and self.values[-1] == 0.0:  # where the product would be NaN
                ends_s = iter([*self.borders_s[begun + 1 : -1], self.borders_s[-2]])
            areas = map(mul, islice(self.values, begun, None), map(sub, ends_s, islice(self.borders_s, begun, None)))
            self._rest = accumulate(areas, initial=self.cumulative[-1])
            next(self._rest)
        self.cumulative.extend(islice(self._rest, block + 1 - len(self.cumulative)))
