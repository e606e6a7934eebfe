"""The interface of rate laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from netsim.streams import Floats


class RateLaw(Protocol):
    """A rate law: the goodput of a link as a function of the signal-to-noise ratio."""

    @property
    def delay_blocks(self) -> int:
        """Age of the sender's channel state information, in fading blocks."""
        ...

    @property
    def min_snr(self) -> float:
        """Signal-to-noise ratio, as a plain ratio, up to which the goodput is 0; 0 if it is positive at any ratio."""
        ...

    def efficiency(self, snr: Floats) -> Floats:
        """Return the goodput of n consecutive fading blocks.

        Args:
            snr: signal-to-noise ratios as plain ratios, of n blocks and the `delay_blocks` before them: shape
                (delay_blocks + n,) for flat fading, (delay_blocks + n, resource blocks) for frequency-selective fading.

        Returns:
            Goodput in bit/s/Hz, shape (n,).
        """
        ...


def least(carries: Callable[[float], bool]) -> float:
    """Return the plain ratio up to which a rate is 0, by bisection of its logarithm; 0 if it is below -120 dB.

    Args:
        carries: returns True if the rate is positive at a ratio; monotonic.
    """
    low, high = -12.0, 30.0
    if carries(10**low):
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if carries(10**middle) else (middle, high)
    return float(10**low)


def over_band(values: Floats) -> Floats:
    """Return the mean over resource blocks, the last axis; values of shape (n,) are returned unchanged."""
    return values if values.ndim == 1 else values.mean(axis=-1)
