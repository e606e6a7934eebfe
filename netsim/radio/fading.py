"""Block fading: a power gain with mean one, constant within a coherence time, drawn by block number."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Annotated, Protocol

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

from netsim.streams import Floats, exponentials, uniforms
from netsim.units import from_db


class Fading(Protocol):
    """Small-scale fading of a link."""

    @property
    def coherence_time_s(self) -> float:
        """Length of a block in seconds; block k lasts from k to k+1 coherence times."""
        ...

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> Floats:
        """Power gains of the blocks with these numbers, on the link whose stream is `key`."""
        ...


@dataclass(frozen=True)
class NoFading:
    """No fading: the gain is one for ever."""

    @property
    def coherence_time_s(self) -> float:
        return inf

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> Floats:
        return np.ones(len(blocks))


@dataclass(frozen=True)
class Rayleigh:
    """Rayleigh block fading: no dominant path, the power gain is exponential with mean one."""

    coherence_time_s: Annotated[float, Gt(0)] = 0.05
    """Length of a fading block in seconds (our choice: 0.4 over the Doppler shift of a pedestrian at 3.5 GHz)."""

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> Floats:
        return exponentials(key, blocks)


@dataclass(frozen=True)
class Rician:
    """Rician block fading: one dominant path amid scattered ones."""

    k_db: float = 9.0
    """Power of the dominant path over that of all others in dB (TR 38.901 table 7.5-6: mean 9 in UMi and UMa LOS)."""
    coherence_time_s: Annotated[float, Gt(0)] = 0.05
    """Length of a fading block in seconds."""

    def power_gains(self, key: int, blocks: NDArray[np.int64]) -> Floats:
        k = from_db(self.k_db)
        scattered = exponentials(key, 2 * blocks)
        angle = 2 * np.pi * uniforms(key, 2 * blocks + 1)
        # |sqrt(K) + sqrt(E) exp(i angle)|^2 / (K + 1): a fixed path plus a complex Gaussian in polar form
        gains: Floats = (k + scattered + 2 * sqrt(k) * np.sqrt(scattered) * np.cos(angle)) / (k + 1)
        return gains


FADINGS: dict[str, type] = {"none": NoFading, "rayleigh": Rayleigh, "rician": Rician}
