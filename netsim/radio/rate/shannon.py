"""Shannon's capacity, with a gap in dB."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log

import numpy as np

from netsim.radio.rate.law import over_band
from netsim.streams import Floats
from netsim.units import NonNegativeDecibels, from_db

_LN_2 = log(2)


@dataclass(frozen=True)
class Shannon:
    """Shannon's capacity with a gap: log2(1 + SNR / gap) in bit/s/Hz."""

    gap_db: NonNegativeDecibels = 0.0
    """SNR gap to capacity of real modulation and coding in dB; 0 is capacity."""

    @cached_property
    def gap(self) -> float:
        """The gap as a plain ratio."""
        return from_db(self.gap_db)

    @property
    def delay_blocks(self) -> int:
        return 0

    @property
    def min_snr(self) -> float:
        return 0.0

    def efficiency(self, snr: Floats) -> Floats:
        rates = np.log1p(snr if self.gap == 1.0 else snr / self.gap)
        rates /= _LN_2
        return over_band(rates)
