"""Modulated symbols that arrive at any signal-to-noise ratio: what they are worth is up to the receiver's decoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsim.radio.rate.law import RateLaw
from netsim.streams import Floats

SYMBOLS_PER_S_PER_HZ = 2.0
"""Real symbols per second in each Hz: Nyquist's rate, with two real symbols in a complex one (BPSK pairs as QPSK)."""


@dataclass(frozen=True)
class SymbolRate:
    """Rate of real symbols, the same at any signal-to-noise ratio."""

    coded: RateLaw
    """Rate law of the link's other transmissions, with which it shares the reports of the channel."""

    @property
    def delay_blocks(self) -> int:
        return self.coded.delay_blocks

    @property
    def min_snr(self) -> float:
        return 0.0

    def efficiency(self, snr: Floats) -> Floats:
        """Return the rate in symbols/s/Hz, whatever the ratios are."""
        return np.full(len(snr) - self.delay_blocks, SYMBOLS_PER_S_PER_HZ)
