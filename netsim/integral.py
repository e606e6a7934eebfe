"""Integrals over time of what changes in steps: a rate, a speed, a power."""

from __future__ import annotations

from math import inf

import numpy as np

from netsim.streams import Floats


class Integral:
    """The integral over time of what is constant within blocks, counted from the first border."""

    __slots__ = ("borders_s", "cumulative", "values")

    def __init__(self, borders_s: Floats, widths_s: Floats, values: Floats) -> None:
        self.borders_s = borders_s  # n + 1
        self.values = values  # n
        self.cumulative = np.empty(len(borders_s))
        self.cumulative[0] = 0.0
        if values.item(-1) == 0.0:  # also for ever: no infinite time adds anything then
            widths_s = np.append(widths_s[:-1], 0.0)
        np.cumsum(values * widths_s, out=self.cumulative[1:])

    def until(self, block: int, instant_s: float) -> float:
        """The integral from the first border to an instant inside a block of the window."""
        in_block_s = instant_s - self.borders_s.item(block)
        return self.cumulative.item(block) + self.values.item(block) * in_block_s

    def crossing_s(self, amount: float) -> float:
        """The first instant at which the integral reaches `amount`; inf if it is beyond the last border."""
        block = int(self.cumulative.searchsorted(amount)) - 1
        if block < 0:
            return self.borders_s.item(0)
        if block == len(self.values):
            return inf
        return self.borders_s.item(block) + (amount - self.cumulative.item(block)) / self.values.item(block)
