"""Antennas of stations: gain patterns and sectors.

TR 38.901 clause 7.3: elements by table 7.3-1, columns of elements by clause 7.3 with weights of equal magnitude,
directions rotated by equations 7.1-7 and 7.1-8.
"""

from __future__ import annotations

from cmath import exp, phase
from dataclasses import dataclass
from math import acos, cos, degrees, log10, pi, radians, remainder, sin, sqrt
from typing import Annotated, Protocol

from annotated_types import Gt, Interval

from netsim.units import MAX_DB, Decibels

NULL = 1e-10
"""Minimum power factor of a column, so that the loss in the nulls of its pattern is finite in dB."""


class Antenna(Protocol):
    """The antennas of a site, one for each sector; each sector is a station."""

    @property
    def azimuths_deg(self) -> tuple[float, ...]:
        """Boresight azimuth of each sector, in degrees counterclockwise from the x axis."""
        ...

    def gain_db(self, azimuth_deg: float, zenith_deg: float) -> float:
        """Return the gain in dB in a direction.

        Args:
            azimuth_deg: azimuth from the boresight of the sector in degrees.
            zenith_deg: zenith angle in degrees; 90 is horizontal, more is downwards.
        """
        ...


@dataclass(frozen=True)
class Omnidirectional:
    """Omnidirectional antenna: equal gain in all directions; each site is one station."""

    @property
    def azimuths_deg(self) -> tuple[float, ...]:
        return (0.0,)

    def gain_db(self, azimuth_deg: float, zenith_deg: float) -> float:
        return 0.0


@dataclass(frozen=True)
class ThreeSectors:
    """Three sectors at each site: elements of TR 38.901 table 7.3-1 in a column, tilted down."""

    element_gain_db: Decibels = 8.0
    """Maximum gain of an element in dBi (table 7.3-1: 8)."""
    beamwidth_deg: Annotated[float, Gt(0)] = 65.0
    """3 dB beamwidth of an element in degrees, horizontal and vertical (table 7.3-1: 65)."""
    min_db: Annotated[float, Interval(gt=0, le=MAX_DB)] = 30.0
    """Maximum attenuation of an element's pattern in dB, to the sides and behind (table 7.3-1: 30)."""
    elements: Annotated[int, Interval(ge=1, le=1024)] = 1
    """Number of elements in the column, half a wavelength apart; n elements add 10 log10 n dB in their main direction
    (table 7.8-1: 10)."""
    electrical_downtilt_deg: Annotated[float, Interval(ge=-90, le=90)] = 0.0
    """Electrical downtilt in degrees, by the phases of the elements; needs more than one element (table 7.8-1: 12, a
    zenith angle of 102)."""
    mechanical_downtilt_deg: Annotated[float, Interval(ge=-90, le=90)] = 0.0
    """Mechanical downtilt of the whole antenna in degrees."""
    first_azimuth_deg: float = 30.0
    """Boresight azimuth of the first sector, in degrees counterclockwise from the x axis; the others are 120 and 240
    degrees further (table 7.8-1: 30, 150 and 270)."""

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
        """Array gain of the column in dB: its elements are in phase in its main direction."""
        if self.elements == 1:
            return 0.0
        turn = pi * (cos(zenith) + sin(radians(self.electrical_downtilt_deg)))
        waves = sum(exp(1j * turn * element) for element in range(self.elements)) / sqrt(self.elements)
        return 10 * log10(max(abs(waves) ** 2, NULL))


def _bent(azimuth: float, zenith: float, downtilt: float) -> tuple[float, float]:
    """Azimuth and zenith angle in the coordinates of an antenna with a mechanical downtilt, all in radians."""
    if downtilt == 0:
        return remainder(azimuth, 2 * pi), zenith
    ahead, aside, up = sin(zenith) * cos(azimuth), sin(zenith) * sin(azimuth), cos(zenith)
    seen_up = cos(downtilt) * up + sin(downtilt) * ahead
    seen_ahead = cos(downtilt) * ahead - sin(downtilt) * up
    return phase(complex(seen_ahead, aside)), acos(max(-1.0, min(1.0, seen_up)))


ANTENNAS: dict[str, type] = {"omnidirectional": Omnidirectional, "three_sectors": ThreeSectors}
