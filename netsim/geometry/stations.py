"""Placements of base stations, and the images of a layout that wraps around."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin
from typing import Annotated, Protocol

from annotated_types import Gt, Interval, MinLen

from netsim.geometry.point import Point


class StationPlacement(Protocol):
    """A placement of base stations. A site has one station, or one for each sector."""

    def sites(self) -> list[Point]:
        """Return x and y in metres of sites 0, 1, 2 and so on."""
        ...

    def images(self) -> list[Point]:
        """Return the shifts in metres by which the layout repeats itself, first (0, 0).

        A user's path to a site is that to the nearest of the site's images.
        """
        ...


@dataclass(frozen=True)
class Stations:
    """Base stations at given positions; the default is one at the origin."""

    positions_m: Annotated[tuple[tuple[float, float], ...], MinLen(1)] = ((0.0, 0.0),)
    """x and y of each station in metres."""

    def sites(self) -> list[Point]:
        return list(self.positions_m)

    def images(self) -> list[Point]:
        return [(0.0, 0.0)]


@dataclass(frozen=True)
class HexagonalGrid:
    """One base station at the origin and rings of neighbours around it: 1 + 3 r (r + 1) stations."""

    rings: Annotated[int, Interval(ge=0, le=50)] = 1
    """Number of rings around the middle; 0 is one station."""
    inter_site_distance_m: Annotated[float, Gt(0)] = 200.0
    """Distance between neighbours in metres (TR 38.901 table 7.2-1: 200 for UMi, 500 for UMa)."""
    wrap_around: bool = False
    """True repeats the grid in all directions, so that every cell has neighbours on all sides: a user's path to a
    station is that to its nearest image (as in the calibration with 19 sites of TR 38.901 clause 7.8)."""

    def sites(self) -> list[Point]:
        out = [(0.0, 0.0)]
        for ring in range(1, self.rings + 1):
            for a, b in zip(CORNERS, CORNERS[1:] + CORNERS[:1], strict=True):
                # along the side from corner a towards corner b
                out += [self._combined(a, ring - step, b, step) for step in range(ring)]
        return out

    def images(self) -> list[Point]:
        """With r rings, r + 1 steps towards one neighbour and r towards the next lead to the same site of an image."""
        if not self.wrap_around:
            return [(0.0, 0.0)]
        sides = zip(CORNERS, CORNERS[1:] + CORNERS[:1], strict=True)
        return [(0.0, 0.0), *(self._combined(a, self.rings + 1, b, self.rings) for a, b in sides)]

    def _combined(self, a: Point, steps_a: int, b: Point, steps_b: int) -> Point:
        x, y = a[0] * steps_a + b[0] * steps_b, a[1] * steps_a + b[1] * steps_b
        return x * self.inter_site_distance_m, y * self.inter_site_distance_m


CORNERS = [(cos(pi * k / 3), sin(pi * k / 3)) for k in range(6)]
"""Unit vectors towards the six neighbours of a site."""

STATION_PLACEMENTS: dict[str, type] = {"list": Stations, "hexagonal_grid": HexagonalGrid}
