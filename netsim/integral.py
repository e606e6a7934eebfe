"""Integrals over time of what changes in steps: a rate, a speed, a power."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import inf

import numpy as np

from netsim.streams import Floats


class Integral:
    """The integral over time of what is constant within blocks, counted from the first border.

    Numbers are read one by one, which is two to three times as fast through a memoryview as from an array.
    """

    __slots__ = ("borders_s", "cumulative", "values")

    def __init__(self, borders_s: Floats, widths_s: Floats, values: Floats) -> None:
        cumulative = np.empty(len(borders_s))
        cumulative[0] = 0.0
        if values.item(-1) == 0.0:  # also for ever: no infinite time adds anything then
            widths_s = np.append(widths_s[:-1], 0.0)
        (values * widths_s).cumsum(out=cumulative[1:])
        self.borders_s: Sequence[float] = borders_s.data  # n + 1
        self.values: Sequence[float] = values.data  # n
        self.cumulative: Sequence[float] = cumulative.data  # n + 1

    def until(self, block: int, instant_s: float) -> float:
        """The integral from the first border to an instant inside a block of the window."""
        return self.cumulative[block] + self.values[block] * (instant_s - self.borders_s[block])

    def crossing_s(self, amount: float) -> float:
        """The first instant at which the integral reaches `amount`; inf if it is beyond the last border."""
        block = bisect_left(self.cumulative, amount) - 1
        if block < 0:
            return self.borders_s[0]
        if block == len(self.values):
            return inf
        return self.borders_s[block] + (amount - self.cumulative[block]) / self.values[block]
