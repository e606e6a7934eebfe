"""What a rate law is."""

from __future__ import annotations

from typing import Protocol

from netsim.streams import Floats


class RateLaw(Protocol):
    """How many bits a hertz of band carries in a second."""

    @property
    def delay_blocks(self) -> int:
        """How many fading blocks old is what the sender knows; so many before the first must be given."""
        ...

    def efficiency(self, snr: Floats) -> Floats:
        """Goodput in bit/s/Hz of n fading blocks that follow each other.

        `snr` are plain ratios, (delay_blocks + n,) where all frequencies fade alike, or (delay_blocks + n, resource
        blocks); what comes out is (n,).
        """
        ...


def over_band(values: Floats) -> Floats:
    """The mean over resource blocks, where there are any."""
    return values if values.ndim == 1 else values.mean(axis=-1)
