"""Random waypoint mobility: users walk to a random position, pause there, and walk to the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi, sin, sqrt
from typing import Annotated

from annotated_types import Ge, Interval

from netsim.geometry import Point
from netsim.mobility.walk import Leg, leg
from netsim.streams import Streams

KMH = 1 / 3.6
"""One km/h in m/s."""


@dataclass(frozen=True)
class RandomWaypoint:
    """Random waypoint: walks to positions drawn uniformly over a disc around the origin, at random speeds, with pauses.

    Users start walking from their placement at time zero. In the long run they are near the middle more often than near
    the edge, and slower than the mean of the drawn speeds, because slow walks last longer (Bettstetter, Hartenstein,
    Perez-Costa, Stochastic properties of the random waypoint mobility model, Wireless Networks 10, 2004).
    """

    radius_m: Annotated[float, Ge(0.1)] = 100.0
    """Radius of the disc in metres."""
    min_speed_kmh: Annotated[float, Interval(gt=0, le=100_000)] = 2.0
    """Minimum speed in km/h; above zero, because the mean duration of a walk would be infinite otherwise."""
    max_speed_kmh: Annotated[float, Interval(gt=0, le=100_000)] = 4.0
    """Maximum speed in km/h; speeds are uniform in between (TR 38.901 table 7.2-1: pedestrians at 3)."""
    pause_s: Annotated[float, Ge(0)] = 0.0
    """Pause at each position in seconds."""

    def __post_init__(self) -> None:
        if self.min_speed_kmh > self.max_speed_kmh:
            raise ValueError(
                f"min_speed_kmh ({self.min_speed_kmh:g}) must not exceed max_speed_kmh ({self.max_speed_kmh:g})"
            )

    def check(self, count: int) -> None:
        """Accept any number of users."""

    def legs(self, user: int, start: Point, streams: Streams) -> Iterator[Leg]:
        now_s, place, walk = 0.0, start, 0
        while True:
            u, v, w = streams.uniform("waypoint", user, index=range(3 * walk, 3 * walk + 3)).tolist()
            radius, angle = self.radius_m * sqrt(u), 2 * pi * v
            speed = (self.min_speed_kmh + (self.max_speed_kmh - self.min_speed_kmh) * w) * KMH
            going = leg(now_s, place, (radius * cos(angle), radius * sin(angle)), speed)
            yield going
            now_s, place, walk = going.end_s, going.end, walk + 1
            if self.pause_s:
                yield Leg(now_s, now_s + self.pause_s, place, place)
                now_s += self.pause_s
