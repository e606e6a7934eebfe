"""How much a link carries between two instants: the Shannon rate integrated over fading blocks.

Within a block everything is constant, so an integral over time is a cumulative sum with a straight line in the last
block, and the instant by which an amount has been carried is the first crossing of that sum. No event a block.
"""

from __future__ import annotations

from math import inf, isinf, log

import numpy as np
from numpy.typing import NDArray

from netsim.integral import Integral
from netsim.radio.link import Carrying
from netsim.streams import Floats

REMEMBERED = 8
"""Shares of the band whose integrals a window keeps: contention goes to and fro between a few."""


def spectral_efficiency(snr: Floats, gap: float) -> Floats:
    """Shannon's log2(1 + SNR / gap) in bit/s/Hz; a gap of one is capacity, real codes have a larger one."""
    return np.log1p(snr / gap) / log(2)


class Window:
    """A stretch of fading blocks of a link, from an instant inside its first block on."""

    def __init__(self, link: Carrying, start_s: float, blocks: int, gap: float) -> None:
        self.gap = gap
        numbers, self.borders_s = _blocks(link.coherence_time_s, start_s, blocks)
        self._widths_s = np.diff(self.borders_s)
        self.power_over_noise_hz = link.power_over_noise_hz(numbers)
        self.signal = Integral(self.borders_s, self._widths_s, self.power_over_noise_hz)
        self._efficiencies: dict[float, Integral] = {}

    @property
    def end_s(self) -> float:
        """Where the window ends; inf if nothing ever changes."""
        return self.borders_s.item(-1)

    def block(self, instant_s: float) -> int:
        """Position in the window of the block that holds an instant, the last one for its end."""
        return min(int(self.borders_s.searchsorted(instant_s, "right")), len(self.borders_s) - 1) - 1

    def efficiency(self, spread_hz: float) -> Integral:
        """Bits per hertz of band carried over time if the power is spread over `spread_hz`; remembered."""
        known = self._efficiencies.get(spread_hz)
        if known is None:
            if len(self._efficiencies) == REMEMBERED:
                del self._efficiencies[next(iter(self._efficiencies))]
            values = spectral_efficiency(self.power_over_noise_hz / spread_hz, self.gap)
            known = self._efficiencies[spread_hz] = Integral(self.borders_s, self._widths_s, values)
        return known


def _blocks(length_s: float, start_s: float, count: int) -> tuple[NDArray[np.int64], Floats]:
    """Numbers of `count` blocks from the one that holds `start_s`, and their borders, the first moved to `start_s`."""
    if isinf(length_s):
        return np.zeros(1, dtype=np.int64), np.array([start_s, inf])
    first = int(start_s // length_s)
    numbers = np.arange(first, first + count, dtype=np.int64)
    borders_s = np.empty(count + 1)
    borders_s[0] = start_s
    # A border that rounds to the instant itself leaves the first block without any width.
    np.maximum((numbers + 1) * length_s, start_s, out=borders_s[1:])
    return numbers, borders_s
