"""Block fading: power gains with mean 1, constant within a fading block, drawn by block number."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Annotated, Protocol

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from scipy.special import gammaincinv

from netsim.radio.jakes import Jakes
from netsim.radio.selective import ExponentialDelays, TappedDelayLine
from netsim.streams import LARGEST_EXPONENTIAL, LARGEST_UNIFORM, Floats, exponentials, uniforms
from netsim.units import Decibels, RecurringSeconds, from_db


class Gains(Protocol):
    """Power gains of links at one carrier, by fading block."""

    @property
    def coherence_time_s(self) -> float:
        """Length of a fading block in seconds; block k lasts from k to k + 1 coherence times."""
        ...

    @property
    def max_gain(self) -> float:
        """Upper bound of the power gain of any block, link and resource block."""
        ...

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> Floats:
        """Return the power gains of a link in some fading blocks, as plain ratios.

        Args:
            key: key of the link's stream of random numbers.
            blocks: numbers of the fading blocks, shape (blocks,).

        Returns:
            Shape (blocks,) for flat fading, (blocks, resource blocks) for frequency-selective fading.
        """
        ...


class Fading(Protocol):
    """Small-scale fading."""

    def at(self, carrier_hz: float, offsets_hz: Floats) -> Gains:
        """Return the gains around a carrier.

        Args:
            carrier_hz: carrier frequency in Hz.
            offsets_hz: middle frequencies of the resource blocks, relative to the carrier, in Hz.
        """
        ...


@dataclass(frozen=True)
class NoFading:
    """No fading: the power gain is 1 at all times."""

    def at(self, carrier_hz: float, offsets_hz: Floats) -> Gains:
        return self

    @property
    def coherence_time_s(self) -> float:
        return inf

    @property
    def max_gain(self) -> float:
        return 1.0

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> Floats:
        return np.ones(len(blocks))


@dataclass(frozen=True)
class Rayleigh:
    """Rayleigh block fading: without a dominant path; the power gain is exponential with mean 1."""

    coherence_time_s: RecurringSeconds = 0.05
    """Length of a fading block in seconds (our choice: 0.4 over the Doppler shift of a pedestrian at 3.5 GHz)."""

    def at(self, carrier_hz: float, offsets_hz: Floats) -> Gains:
        return self

    @property
    def max_gain(self) -> float:
        return LARGEST_EXPONENTIAL

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> Floats:
        return exponentials(key, blocks)


@dataclass(frozen=True)
class Rician:
    """Rician block fading: a dominant path and scattered ones."""

    k_db: Decibels = 9.0
    """Rician K factor in dB: power of the dominant path over that of all others (TR 38.901 table 7.5-6: mean 9 in UMi
    and UMa LOS)."""
    coherence_time_s: RecurringSeconds = 0.05
    """Length of a fading block in seconds."""

    def at(self, carrier_hz: float, offsets_hz: Floats) -> Gains:
        return self

    @property
    def max_gain(self) -> float:
        k = from_db(self.k_db)
        return (sqrt(k) + sqrt(LARGEST_EXPONENTIAL)) ** 2 / (k + 1)

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> Floats:
        k = from_db(self.k_db)
        scattered = exponentials(key, 2 * blocks)
        angle = 2 * np.pi * uniforms(key, 2 * blocks + 1)
        # |sqrt(K) + sqrt(E) exp(i angle)|^2 / (K + 1): a fixed path plus a complex Gaussian in polar form
        gains: Floats = (k + scattered + 2 * sqrt(k) * np.sqrt(scattered) * np.cos(angle)) / (k + 1)
        return gains


@dataclass(frozen=True)
class Nakagami:
    """Nakagami-m block fading: from deeper than Rayleigh fading to almost none."""

    m: Annotated[float, Ge(0.5)] = 2.0
    """Shape m: the power gain has a gamma distribution with variance 1/m; 1 is Rayleigh, 0.5 is the deepest fading."""
    coherence_time_s: RecurringSeconds = 0.05
    """Length of a fading block in seconds."""

    def at(self, carrier_hz: float, offsets_hz: Floats) -> Gains:
        return self

    @property
    def max_gain(self) -> float:
        return float(gammaincinv(self.m, LARGEST_UNIFORM) / self.m)

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> Floats:
        return np.asarray(gammaincinv(self.m, uniforms(key, blocks)) / self.m, dtype=np.float64)


FADINGS: dict[str, type] = {
    "none": NoFading,
    "rayleigh": Rayleigh,
    "rician": Rician,
    "nakagami": Nakagami,
    "jakes": Jakes,
    "tdl": TappedDelayLine,
    "exponential_delays": ExponentialDelays,
}

RESOURCE_BLOCK_HZ = 180e3
"""Width of a resource block: twelve subcarriers of 15 kHz (TS 38.211, 4.4.4.1)."""


def resource_blocks_hz(bandwidth_hz: float, count: int | None = None) -> Floats:
    """Return the middle frequencies of the resource blocks of a band, relative to that of the band, in Hz.

    Args:
        bandwidth_hz: bandwidth in Hz.
        count: number of resource blocks of equal width; None is as many of 180 kHz or more as fit.
    """
    count = count or max(1, int(bandwidth_hz // RESOURCE_BLOCK_HZ))
    return np.asarray((np.arange(count) - (count - 1) / 2) * bandwidth_hz / count, dtype=np.float64)
