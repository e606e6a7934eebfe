"""Rayleigh fading of a moving user, correlated over time by scattered waves from all directions.

The gain is a sum of waves whose directions and phases are named draws, so that any instant can be computed alone.
Model: Xiao, Zheng, Beaulieu, Novel sum-of-sinusoids simulation models for Rayleigh and Rician fading channels, IEEE
Transactions on Wireless Communications 5(12), 2006, in complex form: over links the autocorrelation is exactly
J0(2 pi f tau) with the Doppler shift f, whatever the number of waves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, Interval
from numpy.typing import NDArray

from netsim.streams import Floats, uniforms
from netsim.units import LIGHT_M_PER_S


@dataclass(frozen=True)
class Jakes:
    """Rayleigh fading with the Jakes spectrum: correlated over time by the user's speed and the carrier."""

    speed_kmh: Annotated[float, Gt(0)] = 3.0
    """Speed of the user in km/h (TR 38.901 table 7.2-1: 3). `network.mobility` does not set it: give it the same."""
    waves: Annotated[int, Interval(ge=8, le=1000)] = 32
    """Number of waves in the sum. With n waves the distribution of power differs from the exponential one by at most
    0.12 / n; its mean is 1, and its variance 1 - 1/n instead of 1."""
    blocks_per_wavelength: Annotated[int, Interval(ge=4, le=1000)] = 20
    """Number of fading blocks while the user moves by a wavelength; the gain is that of the middle of the block."""

    def at(self, carrier_hz: float, offsets_hz: Floats) -> Waves:
        doppler_hz = self.speed_kmh / 3.6 * carrier_hz / LIGHT_M_PER_S
        return Waves(doppler_hz, self.waves, 1 / (doppler_hz * self.blocks_per_wavelength))


@dataclass(frozen=True)
class Waves:
    """Waves of equal power from all directions: the power gain of each link has mean 1 over time."""

    doppler_hz: float
    count: int
    coherence_time_s: float

    @property
    def max_gain(self) -> float:
        """The power gain with all waves in phase."""
        return float(self.count)

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> Floats:
        draws = uniforms(key, np.arange(2 * self.count))
        directions = 2 * np.pi * (np.arange(self.count) + draws[: self.count]) / self.count
        shifts_hz, phases = self.doppler_hz * np.cos(directions), draws[self.count :]
        instants_s = (blocks + 0.5) * self.coherence_time_s
        real, imaginary = np.zeros(len(blocks)), np.zeros(len(blocks))
        for shift_hz, phase in zip(shifts_hz.tolist(), phases.tolist(), strict=True):  # one order, so one rounding
            angles = 2 * np.pi * (shift_hz * instants_s + phase)
            real += np.cos(angles)
            imaginary += np.sin(angles)
        gains: Floats = (real**2 + imaginary**2) / self.count
        return gains
