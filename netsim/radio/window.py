"""Windows of fading blocks, in which the rate of a link is integrated over time.

Within a block everything is constant, so an integral over time is a cumulative sum with a straight line in the last
block, and the instant by which an amount has been carried is the first crossing of that sum. No event a block.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf, isinf

import numpy as np
from numpy.typing import NDArray

from netsim.integral import Integral
from netsim.radio.rate import RateLaw
from netsim.radio.rate.law import over_band
from netsim.streams import Floats

FIRST_BLOCKS, MAX_BLOCKS = 128, 65_536
"""Fading blocks that are evaluated in advance: at first, and at most; each further window is twice as long."""

REMEMBERED = 8
"""Shares of the band whose integrals a window keeps: contention goes to and fro between a few."""


class Window:
    """A stretch of n fading blocks between n + 1 borders, the power that arrives in each, and what it carries.

    `power_over_noise_hz` begins as many blocks earlier as the rate law asks for; it may have a column for each resource
    block.
    """

    def __init__(self, borders_s: Floats, power_over_noise_hz: Floats, rate: RateLaw) -> None:
        self.power_over_noise_hz, self.rate = power_over_noise_hz, rate
        self.borders_s: Sequence[float] = borders_s.data  # read one by one, as in `Integral`
        self.end_s = self.borders_s[-1]
        """End of the window in seconds; inf if nothing ever changes."""
        self._borders_s, self._widths_s = borders_s, borders_s[1:] - borders_s[:-1]
        self.signal = Integral(borders_s, self._widths_s, over_band(power_over_noise_hz[rate.delay_blocks :]))
        self._efficiencies: dict[float, Integral] = {}

    def block(self, instant_s: float) -> int:
        """Position in the window of the block that holds an instant, the last one for its end."""
        return min(bisect_right(self.borders_s, instant_s), len(self.borders_s) - 1) - 1

    def signal_until(self, block: int, instant_s: float) -> float:
        """`signal` up to an instant in a block; beyond the end, where a silence was skipped, it goes on at its mean."""
        if instant_s <= self.end_s:
            return self.signal.until(block, instant_s)
        whole = self.signal.cumulative[-1]
        return whole + whole / (self.end_s - self.borders_s[0]) * (instant_s - self.end_s)

    def efficiency(self, spread_hz: float) -> Integral:
        """Bits per hertz of band carried over time if the power is spread over `spread_hz`; remembered."""
        known = self._efficiencies.get(spread_hz)
        if known is None:
            if len(self._efficiencies) == REMEMBERED:
                del self._efficiencies[next(iter(self._efficiencies))]
            values = self.rate.efficiency(self.power_over_noise_hz / spread_hz)
            known = self._efficiencies[spread_hz] = Integral(self._borders_s, self._widths_s, values)
        return known


def stretch(length_s: float, start_s: float, count: int, earlier: int = 0) -> tuple[NDArray[np.int64], Floats]:
    """Numbers of `count` blocks from the one that holds `start_s`, and their borders, the first moved to `start_s`.

    The numbers of some `earlier` blocks go before, without borders.
    """
    if isinf(length_s):
        return np.arange(-earlier, 1, dtype=np.int64), np.array([start_s, inf])
    first = int(start_s // length_s)
    numbers = np.arange(first - earlier, first + count, dtype=np.int64)
    borders_s = np.empty(count + 1)
    borders_s[0] = start_s
    # A border that rounds to the instant itself leaves the first block without any width.
    np.maximum((numbers[earlier:] + 1) * length_s, start_s, out=borders_s[1:])
    return numbers, borders_s
