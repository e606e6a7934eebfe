"""Placements of users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, hypot, inf, pi, sin, sqrt
from typing import Annotated, Protocol

from annotated_types import Ge, Gt, MinLen

from netsim.geometry.point import Point
from netsim.lazy import drawn
from netsim.streams import Streams

TRIES = 1000
"""Number of draws for one user after which a placement with `min_distance_m` counts as impossible."""


class UserPlacement(Protocol):
    """A placement of users."""

    def users(self, count: int, stations: list[Point], streams: Streams) -> Sequence[Point]:
        """Return the positions of users 0 to count - 1.

        Args:
            count: number of users; the position of a user does not depend on it.
            stations: positions of the sites in metres.
            streams: random numbers of the run.

        Returns:
            x and y of each user in metres.

        Raises:
            ValueError: the placement does not fit `count` users, or a user cannot keep `min_distance_m`.
        """
        ...


@dataclass(frozen=True)
class Disc:
    """Uniform over the area of a disc around the origin."""

    radius_m: Annotated[float, Gt(0)] = 100.0
    """Radius in metres."""
    min_distance_m: Annotated[float, Ge(0)] = 10.0
    """Minimum horizontal distance to any station in metres; closer positions are drawn again."""

    def users(self, count: int, stations: list[Point], streams: Streams) -> Sequence[Point]:
        def draw(user: int, attempt: int) -> Point:
            u, v = streams.uniform("position", user, index=(2 * attempt, 2 * attempt + 1)).tolist()
            radius, angle = self.radius_m * sqrt(u), 2 * pi * v
            return radius * cos(angle), radius * sin(angle)

        return _clear_of(stations, self.min_distance_m, count, draw)


@dataclass(frozen=True)
class Hexagon:
    """Uniform over a hexagonal cell around the origin.

    It is the middle cell of a hexagonal grid whose inter-site distance is sqrt(3) times the radius.
    """

    radius_m: Annotated[float, Gt(0)] = 100.0
    """Distance from the middle to a corner in metres."""
    min_distance_m: Annotated[float, Ge(0)] = 10.0
    """Minimum horizontal distance to any station in metres; closer positions are drawn again."""

    def users(self, count: int, stations: list[Point], streams: Streams) -> Sequence[Point]:
        def draw(user: int, attempt: int) -> Point:
            return _in_hexagon(self.radius_m, user, attempt, streams)

        return _clear_of(stations, self.min_distance_m, count, draw)


@dataclass(frozen=True)
class Cells:
    """Uniform over the hexagonal cells of all stations of a hexagonal grid."""

    radius_m: Annotated[float, Gt(0)] = 115.5
    """Distance from the middle of a cell to a corner in metres: the inter-site distance over sqrt(3)."""
    min_distance_m: Annotated[float, Ge(0)] = 10.0
    """Minimum horizontal distance to any station in metres; closer positions are drawn again."""

    def users(self, count: int, stations: list[Point], streams: Streams) -> Sequence[Point]:
        def draw(user: int, attempt: int) -> Point:
            x, y = stations[int(streams.uniform("cell", user, index=0) * len(stations))]
            across, along = _in_hexagon(self.radius_m, user, attempt, streams)
            return x + across, y + along

        return _clear_of(stations, self.min_distance_m, count, draw)


@dataclass(frozen=True)
class Explicit:
    """Users at given positions."""

    positions_m: Annotated[tuple[tuple[float, float], ...], MinLen(1)]
    """x and y of each user in metres; as many as there are users."""

    def users(self, count: int, stations: list[Point], streams: Streams) -> Sequence[Point]:
        if len(self.positions_m) != count:
            raise ValueError(f"{len(self.positions_m)} user positions are given, but there are {count} users")
        return list(self.positions_m)


def _in_hexagon(radius_m: float, user: int, attempt: int, streams: Streams) -> Point:
    u, v, w = streams.uniform("position", user, index=range(3 * attempt, 3 * attempt + 3)).tolist()
    # The hexagon consists of three equal rhombs around its middle: draw one of them, then a point in it.
    first, second = (pi / 6 + 2 * pi / 3 * (int(3 * u) + side) for side in (0, 1))
    return radius_m * (v * cos(first) + w * cos(second)), radius_m * (v * sin(first) + w * sin(second))


def _clear_of(
    stations: list[Point], min_distance_m: float, count: int, draw: Callable[[int, int], Point]
) -> Sequence[Point]:
    """Return for each user the first of its draws at `min_distance_m` or more from all stations."""

    def clear(point: Point) -> bool:
        return min((hypot(point[0] - x, point[1] - y) for x, y in stations), default=inf) >= min_distance_m

    def place(user: int) -> Point:
        for attempt in range(TRIES):
            if clear(point := draw(user, attempt)):
                return point
        raise ValueError(
            f"no place for users at least {min_distance_m:g} m from every station; "
            "lower min_distance_m or widen the area"
        )

    return drawn(count, lambda users: [place(user) for user in users])


USER_PLACEMENTS: dict[str, type] = {"disc": Disc, "hexagon": Hexagon, "cells": Cells, "list": Explicit}
