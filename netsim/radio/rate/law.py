"""What a rate law is."""

from __future__ import annotations

from typing import Protocol

from netsim.streams import Floats


class RateLaw(Protocol):
    """How many bits a hertz of band carries in a second."""

    def efficiency(self, snr: Floats) -> Floats:
        """Goodput in bit/s/Hz of fading blocks with these signal-to-noise ratios (plain ratios, not dB)."""
        ...
