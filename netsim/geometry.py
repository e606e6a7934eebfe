"""Where stations and users stand."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, inf, pi, sin, sqrt
from typing import Annotated, Protocol

from annotated_types import Ge, Gt, MinLen

from netsim.streams import Streams

Point = tuple[float, float]
"""x and y in metres."""

TRIES = 1000
"""Draws for one user before a placement with `min_distance_m` counts as impossible."""


class StationPlacement(Protocol):
    """Where the base stations stand."""

    def stations(self) -> list[Point]:
        """Positions of stations 0, 1, 2 and so on."""
        ...


class UserPlacement(Protocol):
    """Where the users are."""

    def users(self, count: int, stations: list[Point], streams: Streams) -> list[Point]:
        """Positions of users 0 .. count-1; one more user moves nobody. Raises ValueError where it cannot be."""
        ...


@dataclass(frozen=True)
class Stations:
    """Base stations at given positions; one at the origin unless told otherwise."""

    positions_m: Annotated[tuple[tuple[float, float], ...], MinLen(1)] = ((0.0, 0.0),)
    """x and y of each station in metres."""

    def stations(self) -> list[Point]:
        return list(self.positions_m)


@dataclass(frozen=True)
class HexagonalGrid:
    """One base station at the origin and rings of neighbours around it: 1 + 3 r (r + 1) stations."""

    rings: Annotated[int, Ge(0)] = 1
    """Rings around the middle; 0 is one station."""
    inter_site_distance_m: Annotated[float, Gt(0)] = 200.0
    """Distance between neighbours in metres (TR 38.901 table 7.2-1: 200 for UMi, 500 for UMa)."""

    def stations(self) -> list[Point]:
        corners = [(cos(pi * k / 3), sin(pi * k / 3)) for k in range(6)]
        out = [(0.0, 0.0)]
        for ring in range(1, self.rings + 1):
            for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
                for step in range(ring):  # along the side from corner a towards corner b
                    x, y = ax * (ring - step) + bx * step, ay * (ring - step) + by * step
                    out.append((x * self.inter_site_distance_m, y * self.inter_site_distance_m))
        return out


@dataclass(frozen=True)
class Disc:
    """Uniform over the area of a disc around the origin."""

    radius_m: Annotated[float, Gt(0)] = 100.0
    """Radius in metres."""
    min_distance_m: Annotated[float, Ge(0)] = 10.0
    """Least horizontal distance to any station in metres; users drawn nearer are drawn again."""

    def users(self, count: int, stations: list[Point], streams: Streams) -> list[Point]:
        return [self._user(user, stations, streams) for user in range(count)]

    def _user(self, user: int, stations: list[Point], streams: Streams) -> Point:
        for attempt in range(TRIES):
            u, v = streams.uniform("position", user, index=(2 * attempt, 2 * attempt + 1)).tolist()
            radius, angle = self.radius_m * sqrt(u), 2 * pi * v
            point = (radius * cos(angle), radius * sin(angle))
            if _distance_to_nearest(point, stations) >= self.min_distance_m:
                return point
        raise ValueError(_no_room(self.min_distance_m))


@dataclass(frozen=True)
class Hexagon:
    """Uniform over a hexagonal cell around the origin.

    It is the middle cell of a hexagonal grid whose inter-site distance is sqrt(3) times the radius.
    """

    radius_m: Annotated[float, Gt(0)] = 100.0
    """Distance from the middle to a corner in metres."""
    min_distance_m: Annotated[float, Ge(0)] = 10.0
    """Least horizontal distance to any station in metres; users drawn nearer are drawn again."""

    def users(self, count: int, stations: list[Point], streams: Streams) -> list[Point]:
        return [self._user(user, stations, streams) for user in range(count)]

    def _user(self, user: int, stations: list[Point], streams: Streams) -> Point:
        for attempt in range(TRIES):
            u, v, w = streams.uniform("position", user, index=range(3 * attempt, 3 * attempt + 3)).tolist()
            # The hexagon is three equal rhombs around its middle: one is picked, then a point in it.
            first, second = (pi / 6 + 2 * pi / 3 * (int(3 * u) + side) for side in (0, 1))
            point = (
                self.radius_m * (v * cos(first) + w * cos(second)),
                self.radius_m * (v * sin(first) + w * sin(second)),
            )
            if _distance_to_nearest(point, stations) >= self.min_distance_m:
                return point
        raise ValueError(_no_room(self.min_distance_m))


@dataclass(frozen=True)
class Explicit:
    """Users at given positions."""

    positions_m: Annotated[tuple[tuple[float, float], ...], MinLen(1)]
    """x and y of each user in metres; as many as there are users."""

    def users(self, count: int, stations: list[Point], streams: Streams) -> list[Point]:
        if len(self.positions_m) != count:
            raise ValueError(f"{len(self.positions_m)} user positions are given, but there are {count} users")
        return list(self.positions_m)


def _distance_to_nearest(point: Point, stations: list[Point]) -> float:
    return min((hypot(point[0] - x, point[1] - y) for x, y in stations), default=inf)


def _no_room(min_distance_m: float) -> str:
    return (
        f"no place for users at least {min_distance_m:g} m from every station; lower min_distance_m or widen the area"
    )


STATION_PLACEMENTS: dict[str, type] = {"list": Stations, "hexagonal_grid": HexagonalGrid}
USER_PLACEMENTS: dict[str, type] = {"disc": Disc, "hexagon": Hexagon, "list": Explicit}
