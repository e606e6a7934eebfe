"""Textbook path loss laws: free space and log-distance."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10, pi
from typing import Annotated

from annotated_types import Gt

from netsim.radio.pathloss.path import Path
from netsim.units import LIGHT_M_PER_S

DECORRELATION_M = 13.0
"""Decorrelation distance of shadowing with these laws (our choice: TR 38.901 UMi without a line of sight)."""


@dataclass(frozen=True)
class FreeSpace:
    """Free space (Friis): 20 log10(4 pi d f / c) dB; without shadowing."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        return True

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        return _friis_db(_positive_length_m(path), path.carrier_hz)

    def shadowing_std_db(self, path: Path, line_of_sight: bool) -> float:
        return 0.0

    def decorrelation_m(self, path: Path, line_of_sight: bool) -> float:
        return DECORRELATION_M


@dataclass(frozen=True)
class LogDistance:
    """Log-distance: free space up to a reference distance, then a power law; without shadowing."""

    exponent: Annotated[float, Gt(0)] = 3.0
    """Path loss exponent beyond the reference distance; 2 is free space."""
    reference_distance_m: Annotated[float, Gt(0)] = 1.0
    """Reference distance in metres, up to which propagation is as in free space."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        return True

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        length_m = _positive_length_m(path)
        near = _friis_db(min(length_m, self.reference_distance_m), path.carrier_hz)
        return near + 10 * self.exponent * max(0.0, log10(length_m / self.reference_distance_m))

    def shadowing_std_db(self, path: Path, line_of_sight: bool) -> float:
        return 0.0

    def decorrelation_m(self, path: Path, line_of_sight: bool) -> float:
        return DECORRELATION_M


def _friis_db(length_m: float, carrier_hz: float) -> float:
    return 20 * log10(4 * pi * length_m * carrier_hz / LIGHT_M_PER_S)


def _positive_length_m(path: Path) -> float:
    if path.length_m <= 0:
        raise ValueError("a user stands exactly at a station's antenna; move one of them or give them unequal heights")
    return path.length_m
