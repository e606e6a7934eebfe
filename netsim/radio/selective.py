"""Frequency-selective fading: taps of different delays, each of scattered waves around a moving user.

The gain of a resource block is that of its middle frequency. Taps are sums of waves whose directions and phases are
named draws, as in `jakes`, so that any instant can be computed alone. Over links, the correlation over time
is J0(2 pi f tau) of the Doppler shift f, and over frequency the Fourier transform of the power delay profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray

from netsim.radio.delay_profiles import LINE_OF_SIGHT, TDL
from netsim.streams import Floats, uniforms
from netsim.units import LIGHT_M_PER_S

SIGHT_SHIFT = 0.7
"""Doppler shift of the line of sight over the maximum Doppler shift (TR 38.901, 7.7.2)."""


@dataclass(frozen=True)
class TappedDelayLine:
    """Fading over time and resource blocks with a delay profile of TR 38.901, TDL-A to -E."""

    profile: Literal["A", "B", "C", "D", "E"] = "A"
    """Delay profile of TR 38.901 tables 7.7.2-1 to -5: A, B and C without, D and E with a line of sight."""
    delay_spread_ns: Annotated[float, Ge(0)] = 100.0
    """RMS delay spread in ns (TR 38.901 table 7.7.3-1: 10 very short, 100 nominal, 1000 very long)."""
    speed_kmh: Annotated[float, Gt(0)] = 3.0
    """Speed of the user in km/h (TR 38.901 table 7.2-1: 3). `network.mobility` does not set it: give it the same."""
    waves: Annotated[int, Interval(ge=4, le=1000)] = 8
    """Number of waves of each tap. The variance of the power over links is smaller than for Rayleigh fading, or Rician
    fading with a line of sight, by the sum of the squared powers of the scattered taps over this number; all powers,
    with that of the line of sight, sum to 1."""
    blocks_per_wavelength: Annotated[int, Interval(ge=4, le=1000)] = 20
    """Number of fading blocks while the user moves by a wavelength; the gain is that of the middle of the block."""

    def at(self, carrier_hz: float, offsets_hz: Floats) -> Taps:
        table = np.array(TDL[self.profile])
        powers = 10 ** (table[:, 1] / 10)
        powers /= powers.sum()
        delays_s = table[:, 0] * self.delay_spread_ns * 1e-9
        sight = 0.0
        if self.profile in LINE_OF_SIGHT:
            sight, powers, delays_s = float(powers[0]), powers[1:], delays_s[1:]
        moving = Moving(self.speed_kmh / 3.6 * carrier_hz / LIGHT_M_PER_S, self.waves, self.blocks_per_wavelength)
        return Taps(moving, offsets_hz, powers, sight, delays_s)


@dataclass(frozen=True)
class ExponentialDelays:
    """Fading over time and resource blocks with an exponential power delay profile."""

    delay_spread_ns: Annotated[float, Ge(0)] = 100.0
    """RMS delay spread in ns, in which powers fall to 1/e."""
    taps: Annotated[int, Interval(ge=8, le=1000)] = 24
    """Number of taps of equal power; each link draws their delays, one from each of equally likely ranges."""
    speed_kmh: Annotated[float, Gt(0)] = 3.0
    """Speed of the user in km/h (TR 38.901 table 7.2-1: 3). `network.mobility` does not set it: give it the same."""
    waves: Annotated[int, Interval(ge=4, le=1000)] = 8
    """Number of waves of each tap. The variance of the power over links is 1 - 1 / (taps * waves); that of Rayleigh
    fading is 1."""
    blocks_per_wavelength: Annotated[int, Interval(ge=4, le=1000)] = 20
    """Number of fading blocks while the user moves by a wavelength; the gain is that of the middle of the block."""

    def at(self, carrier_hz: float, offsets_hz: Floats) -> Taps:
        moving = Moving(self.speed_kmh / 3.6 * carrier_hz / LIGHT_M_PER_S, self.waves, self.blocks_per_wavelength)
        powers = np.full(self.taps, 1 / self.taps)
        return Taps(moving, offsets_hz, powers, 0.0, None, self.delay_spread_ns * 1e-9)


@dataclass(frozen=True)
class Moving:
    """The change of a channel over time by the movement of a user."""

    doppler_hz: float
    waves: int
    blocks_per_wavelength: int

    @property
    def coherence_time_s(self) -> float:
        return 1 / (self.doppler_hz * self.blocks_per_wavelength)


@dataclass(frozen=True, eq=False)
class Taps:
    """The gains of links over resource blocks: power `sight` of a line of sight and `powers` scattered make one."""

    moving: Moving
    offsets_hz: Floats
    """Middles of the resource blocks, from the carrier."""
    powers: Floats
    sight: float
    delays_s: Floats | None
    """None if each link draws its own, exponential with mean `mean_delay_s`."""
    mean_delay_s: float = 0.0

    @property
    def coherence_time_s(self) -> float:
        return self.moving.coherence_time_s

    @property
    def max_gain(self) -> float:
        """The power gain with the line of sight and all waves of all taps in phase."""
        return float(np.sqrt(self.sight) + np.sqrt(self.powers * self.moving.waves).sum()) ** 2

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> Floats:
        """Return power gains, shape (blocks, resource blocks); a gain does not depend on the other requested blocks."""
        instants_s = np.asarray((blocks + 0.5) * self.coherence_time_s, dtype=np.float64)
        real, imaginary = self._sight(key, instants_s)
        tap_real, tap_imaginary = self._scattered(key, instants_s)
        turns = self._common_turns if self.delays_s is not None else self._turns(self._own_delays_s(key))
        for tap, (cosine, sine) in enumerate(zip(*turns, strict=True)):
            a, b = tap_real[:, tap, None], tap_imaginary[:, tap, None]
            real += a * cosine + b * sine
            imaginary += b * cosine - a * sine
        return np.asarray(real**2 + imaginary**2)

    @cached_property
    def _common_turns(self) -> tuple[Floats, Floats]:
        assert self.delays_s is not None
        return self._turns(self.delays_s)

    def _turns(self, delays_s: Floats) -> tuple[Floats, Floats]:
        """Cosine and sine of the phase by which each tap lags in each resource block, (taps, resource blocks)."""
        angles = 2 * np.pi * delays_s[:, None] * self.offsets_hz
        return np.cos(angles), np.sin(angles)

    def _scattered(self, key: int, instants_s: Floats) -> tuple[Floats, Floats]:
        """Amplitudes of the taps, (blocks, taps): waves from all around, one of each range of directions."""
        taps, waves = len(self.powers), self.moving.waves
        draws = uniforms(key, np.arange(2 * taps * waves)).reshape(2, waves, taps)
        directions = 2 * np.pi * (np.arange(waves)[:, None] + draws[0]) / waves
        shifts_hz, phases = self.moving.doppler_hz * np.cos(directions), draws[1]
        real, imaginary = np.zeros((len(instants_s), taps)), np.zeros((len(instants_s), taps))
        for shift_hz, phase in zip(shifts_hz, phases, strict=True):
            angles = 2 * np.pi * (instants_s[:, None] * shift_hz + phase)
            real += np.cos(angles)
            imaginary += np.sin(angles)
        scale = np.sqrt(self.powers / waves)
        return real * scale, imaginary * scale

    def _sight(self, key: int, instants_s: Floats) -> tuple[Floats, Floats]:
        """The line of sight, at delay zero, (blocks, resource blocks)."""
        phase = uniforms(key, np.array([-1]))
        angles = 2 * np.pi * (SIGHT_SHIFT * self.moving.doppler_hz * instants_s + phase)[:, None]
        everywhere = np.full(len(self.offsets_hz), np.sqrt(self.sight))
        return np.cos(angles) * everywhere, np.sin(angles) * everywhere

    def _own_delays_s(self, key: int) -> Floats:
        taps = len(self.powers)
        draws = uniforms(key, np.arange(-1 - taps, -1))
        return -self.mean_delay_s * np.log1p(-(np.arange(taps) + draws) / taps)
