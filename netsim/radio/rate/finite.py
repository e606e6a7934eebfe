"""Short codewords: the normal approximation of the maximum rate at a given error probability.

Polyanskiy, Poor, Verdu, Channel coding rate in the finite blocklength regime, IEEE Transactions on Information Theory
56(5), 2010, for the complex Gaussian channel: with n complex symbols and error probability e,

    R = C - sqrt(V / n) Q^-1(e),   C = log2(1 + SNR),   V = SNR (SNR + 2) / (SNR + 1)^2 log2(e)^2.

The term log2(n) / 2n of the expansion is left out, so that R -> C from below. Over resource blocks C and V are means:
the codeword lies over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le
from scipy.special import ndtri

from netsim.radio.rate.law import least, over_band
from netsim.streams import Floats


@dataclass(frozen=True)
class FiniteBlocklength:
    """Rate of short codewords by the normal approximation; codewords in error are sent again."""

    blocklength: Annotated[int, Ge(1)] = 256
    """Length of a codeword in complex symbols (our choice; the approximation is good from about 100 on)."""
    error_rate: Annotated[float, Gt(0), Le(0.5)] = 1e-3
    """Error probability of a codeword (our choice)."""

    @property
    def delay_blocks(self) -> int:
        return 0

    @cached_property
    def min_snr(self) -> float:
        return least(lambda snr: bool(self.efficiency(np.array([snr]))[0]))

    @cached_property
    def _penalty(self) -> float:
        """Q^-1(error rate) / sqrt(blocklength), in bits; the dispersion is in nats squared."""
        return -float(ndtri(self.error_rate)) / sqrt(self.blocklength) / log(2)

    def efficiency(self, snr: Floats) -> Floats:
        """Return the rate by the normal approximation, at least 0, times the success probability, in bit/s/Hz."""
        capacity = over_band(np.log1p(snr) / log(2))
        dispersion = over_band(snr * (snr + 2) / (snr + 1) ** 2)
        return (1 - self.error_rate) * np.maximum(0.0, capacity - self._penalty * np.sqrt(dispersion))
