"""Windows of fading blocks, in which the rate of a link is integrated over time.

Rates are constant within a block, so an integral over time is piecewise linear, and the instant at which an amount has
been carried is its first crossing of that amount. So fading blocks need no events.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
"""Number of fading blocks in the first window of a transmission, and maximum; each window is twice the one before."""

REMEMBERED = 8
"""Maximum number of bandwidths whose integrals a window caches, because shares of the band often recur."""


class Window(ABC):
    """A window of n consecutive fading blocks: the received power and the bits carried over time."""

    def __init__(self, borders_s: Sequence[float], rate: RateLaw) -> None:
        """Create a window of the blocks between these borders in seconds, ascending, length n + 1."""
        self.borders_s, self.rate = borders_s, rate
        self.end_s = borders_s[-1]
        """End of the window in seconds; inf if rates are constant."""
        self._efficiencies: dict[float, Integral] = {}
        self._signal: Integral | None = None

    @property
    @abstractmethod
    def power_over_noise_hz(self) -> Floats:
        """Received power over noise power density in Hz of the n blocks and the `rate.delay_blocks` before them.

        The shape is (delay_blocks + n,) or (delay_blocks + n, resource blocks).
        """

    @abstractmethod
    def _integral(self, spread_hz: float | None) -> Integral:
        """Integral of the rate in bit/s/Hz for power spread over `spread_hz` in Hz; of None that of `signal`."""

    @property
    def signal(self) -> Integral:
        """The integral of received power over noise power density, in Hz, averaged over resource blocks."""
        if self._signal is None:
            self._signal = self._integral(None)
        return self._signal

    def block(self, instant_s: float) -> int:
        """Return the index of the block that contains an instant in seconds; the last one for the window's end."""
        after = bisect_right(self.borders_s, instant_s)
        return after - 1 if after < len(self.borders_s) else after - 2

    def signal_until(self, block: int, instant_s: float) -> float:
        """Return the integral of `signal` up to an instant in seconds within a block.

        Beyond the end of the window, after a skipped silence, the signal continues at its mean.
        """
        if instant_s <= self.end_s:
            return self.signal.until(block, instant_s)
        whole = self.signal.total
        return whole + whole / (self.end_s - self.borders_s[0]) * (instant_s - self.end_s)

    def efficiency(self, spread_hz: float) -> Integral:
        """Return the integral of the rate in bit/s/Hz for power spread over `spread_hz` in Hz, from a cache."""
        known = self._efficiencies.get(spread_hz)
        if known is None:
            if len(self._efficiencies) == REMEMBERED:
                del self._efficiencies[next(iter(self._efficiencies))]
            known = self._efficiencies[spread_hz] = self._integral(spread_hz)
        return known


class ArrayWindow(Window):
    """A window that is computed once from the powers of its blocks."""

    def __init__(self, borders_s: Floats, power_over_noise_hz: Floats, rate: RateLaw) -> None:
        """Create a window of n blocks with these borders in seconds, shape (n + 1,), and powers, as in `Window`."""
        super().__init__(borders_s.data, rate)
        self._power_over_noise_hz = power_over_noise_hz

    @property
    def power_over_noise_hz(self) -> Floats:
        return self._power_over_noise_hz

    def _integral(self, spread_hz: float | None) -> Integral:
        if spread_hz is None:
            return Integral(self.borders_s, over_band(self.power_over_noise_hz[self.rate.delay_blocks :]).data)
        return Integral(self.borders_s, self.rate.efficiency(self.power_over_noise_hz / spread_hz).data)


def stretch(length_s: float, start_s: float, count: int, earlier: int = 0) -> tuple[NDArray[np.int64], Floats]:
    """Return the numbers and borders of consecutive fading blocks.

    Args:
        length_s: length of a block in seconds; inf is a single block.
        start_s: simulated time in seconds at which the first block is cut off.
        count: number of blocks, from the one that contains `start_s`.
        earlier: number of blocks before them, which have numbers but no borders.

    Returns:
        Numbers, shape (earlier + count,), and borders in seconds, shape (count + 1,), the first at `start_s`.
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
