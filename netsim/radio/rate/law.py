"""What a rate law is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from netsim.streams import Floats


class RateLaw(Protocol):
    """How many bits a hertz of band carries in a second."""

    @property
    def delay_blocks(self) -> int:
        """How many fading blocks old is what the sender knows; so many before the first must be given."""
        ...

    @property
    def min_snr(self) -> float:
        """The signal-to-noise ratio, a plain one, up to which nothing at all gets through; 0 where something always
        does."""
        ...

    def efficiency(self, snr: Floats) -> Floats:
        """Goodput in bit/s/Hz of n fading blocks that follow each other.

        `snr` are plain ratios, (delay_blocks + n,) where all frequencies fade alike, or (delay_blocks + n, resource
        blocks); what comes out is (n,).
        """
        ...


def least(carries: Callable[[float], bool]) -> float:
    """The ratio up to which nothing is carried, by bisection of its logarithm; 0 if something is even at -120 dB.

    `carries` tells whether anything is at a ratio, and is never true below one at which it is false.
    """
    low, high = -12.0, 30.0
    if carries(10**low):
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if carries(10**middle) else (middle, high)
    return float(10**low)


def over_band(values: Floats) -> Floats:
    """The mean over resource blocks, where there are any."""
    return values if values.ndim == 1 else values.mean(axis=-1)
