"""Integrals over time of piecewise constant functions, such as rates, speeds and powers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import inf

import numpy as np

from netsim.streams import Floats


class Integral:
    """The integral of a function that is constant within blocks of time, from the first border on.

    Numbers are read one by one, which is two to three times as fast through a memoryview as from an array.
    """

    __slots__ = ("borders_s", "cumulative", "values")

    def __init__(self, borders_s: Floats, widths_s: Floats, values: Floats) -> None:
        """Integrate a function.

        Args:
            borders_s: borders of the blocks in seconds, ascending, shape (blocks + 1,); the last may be inf.
            widths_s: widths of the blocks in seconds, shape (blocks,).
            values: values of the function in the blocks, shape (blocks,).
        """
        cumulative = np.empty(len(borders_s))
        cumulative[0] = 0.0
        if values.item(-1) == 0.0:  # also if the last width is inf, where the product would be NaN
            widths_s = np.append(widths_s[:-1], 0.0)
        (values * widths_s).cumsum(out=cumulative[1:])
        self.borders_s: Sequence[float] = borders_s.data
        """Borders of the blocks in seconds, length blocks + 1."""
        self.values: Sequence[float] = values.data
        """Values in the blocks, length blocks."""
        self.cumulative: Sequence[float] = cumulative.data
        """The integral from the first border to each border, length blocks + 1."""

    def until(self, block: int, instant_s: float) -> float:
        """Return the integral from the first border to an instant in seconds within the block of number `block`."""
        return self.cumulative[block] + self.values[block] * (instant_s - self.borders_s[block])

    def crossing_s(self, amount: float) -> float:
        """Return the first instant in seconds at which the integral reaches `amount`; inf if after the last border."""
        block = bisect_left(self.cumulative, amount) - 1
        if block < 0:
            return self.borders_s[0]
        if block == len(self.values):
            return inf
        return self.borders_s[block] + (amount - self.cumulative[block]) / self.values[block]
