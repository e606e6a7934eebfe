"""Antennas of stations: gain by direction, and how many sectors a site has.

TR 38.901 clause 7.3: elements by table 7.3-1, columns of elements by clause 7.3 with weights of equal size, directions
turned by equations 7.1-7 and 7.1-8.
"""

from __future__ import annotations

from cmath import exp, phase
from dataclasses import dataclass
from math import acos, cos, degrees, log10, pi, radians, remainder, sin, sqrt
from typing import Annotated, Protocol

from annotated_types import Ge, Gt, Interval

from netsim.units import MAX_DB, Decibels

NULL = 1e-10
"""Least factor of a column: in a null as good as nothing arrives, but its loss in dB stays finite."""


class Antenna(Protocol):
    """Antennas at a site, one for each sector; a sector is a station of its own."""

    @property
    def azimuths_deg(self) -> tuple[float, ...]:
        """Where the sectors of a site look, in degrees counterclockwise from the x axis."""
        ...

    def gain_db(self, azimuth_deg: float, zenith_deg: float) -> float:
        """Gain towards a direction: degrees beside where the sector looks, and degrees from straight up."""
        ...


@dataclass(frozen=True)
class Omnidirectional:
    """One antenna of equal gain in all directions: a site is a station."""

    @property
    def azimuths_deg(self) -> tuple[float, ...]:
        return (0.0,)

    def gain_db(self, azimuth_deg: float, zenith_deg: float) -> float:
        return 0.0


@dataclass(frozen=True)
class ThreeSectors:
    """Three sectors at each site: elements of TR 38.901 table 7.3-1 in a column, tilted down."""

    element_gain_db: Decibels = 8.0
    """Largest gain of an element in dBi (table 7.3-1: 8)."""
    beamwidth_deg: Annotated[float, Gt(0)] = 65.0
    """Angle in which an element's gain is within 3 dB, across and up, in degrees (table 7.3-1: 65)."""
    min_db: Annotated[float, Interval(gt=0, le=MAX_DB)] = 30.0
    """How far an element's gain falls at most, to the sides and behind, in dB (table 7.3-1: 30)."""
    elements: Annotated[int, Ge(1)] = 1
    """Elements in the column, half a wavelength apart: n of them add 10 log10 n dB where they look (table 7.8-1:
    10)."""
    electrical_downtilt_deg: Annotated[float, Interval(ge=-90, le=90)] = 0.0
    """Below the horizon where the column looks, by its phases, in degrees; needs more than one element (table 7.8-1:
    12, a zenith angle of 102)."""
    mechanical_downtilt_deg: Annotated[float, Interval(ge=-90, le=90)] = 0.0
    """By how much the whole antenna is bent down, in degrees."""
    first_azimuth_deg: float = 30.0
    """Where the first sector looks, in degrees counterclockwise from the x axis; the others 120 and 240 degrees on
    (table 7.8-1: 30, 150 and 270)."""

    @property
    def azimuths_deg(self) -> tuple[float, ...]:
        return tuple(self.first_azimuth_deg + 120.0 * sector for sector in range(3))

    def gain_db(self, azimuth_deg: float, zenith_deg: float) -> float:
        across, down = _bent(radians(azimuth_deg), radians(zenith_deg), radians(self.mechanical_downtilt_deg))
        horizontal_db = self._fall_db(degrees(across))
        vertical_db = self._fall_db(degrees(down) - 90)
        return self.element_gain_db - min(horizontal_db + vertical_db, self.min_db) + self._column_db(down)

    def _fall_db(self, off_deg: float) -> float:
        return min(12 * (off_deg / self.beamwidth_deg) ** 2, self.min_db)

    def _column_db(self, zenith: float) -> float:
        """What the column adds: its elements' waves, turned to be in phase where it looks."""
        if self.elements == 1:
            return 0.0
        turn = pi * (cos(zenith) + sin(radians(self.electrical_downtilt_deg)))
        waves = sum(exp(1j * turn * element) for element in range(self.elements)) / sqrt(self.elements)
        return 10 * log10(max(abs(waves) ** 2, NULL))


def _bent(azimuth: float, zenith: float, downtilt: float) -> tuple[float, float]:
    """Azimuth and zenith angle as an antenna bent down sees them, in radians."""
    if downtilt == 0:
        return remainder(azimuth, 2 * pi), zenith
    ahead, aside, up = sin(zenith) * cos(azimuth), sin(zenith) * sin(azimuth), cos(zenith)
    seen_up = cos(downtilt) * up + sin(downtilt) * ahead
    seen_ahead = cos(downtilt) * ahead - sin(downtilt) * up
    return phase(complex(seen_ahead, aside)), acos(max(-1.0, min(1.0, seen_up)))


ANTENNAS: dict[str, type] = {"omnidirectional": Omnidirectional, "three_sectors": ThreeSectors}
