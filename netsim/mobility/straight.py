"""Straight motion back and forth, as of trains, or cars on a road."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, hypot, pi, radians, sin, sqrt
from typing import Annotated

from annotated_types import Ge, Interval

from netsim.geometry import Point
from netsim.mobility.walk import Leg, leg
from netsim.mobility.waypoint import KMH
from netsim.streams import Streams


@dataclass(frozen=True)
class Straight:
    """Straight motion: each user moves along a line, and turns back at the edge of a disc around the origin."""

    radius_m: Annotated[float, Ge(0.1)] = 100.0
    """Radius of the disc in metres; users that start outside turn back at once."""
    speed_kmh: Annotated[float, Interval(gt=0, le=100_000)] = 30.0
    """Speed in km/h."""
    heading_deg: float | None = None
    """Direction in degrees counterclockwise from the x axis; null draws one for each user."""

    def check(self, count: int) -> None:
        """Accept any number of users."""

    def legs(self, user: int, start: Point, streams: Streams) -> Iterator[Leg]:
        drawn = 2 * pi * streams.uniform("heading", user, index=0)
        heading = drawn if self.heading_deg is None else radians(self.heading_deg)
        x, y = start
        ahead = x * cos(heading) + y * sin(heading)  # along the line, from its point nearest to the origin
        offset = hypot(x - ahead * cos(heading), y - ahead * sin(heading))  # of the line from the origin
        half = sqrt(max(0.0, self.radius_m**2 - offset**2))
        now_s, place, side = 0.0, start, 1
        while half > 0:
            further = side * half - ahead
            end = (x + further * cos(heading), y + further * sin(heading))
            going = leg(now_s, place, end, self.speed_kmh * KMH)
            yield going
            now_s, place, side = going.end_s, end, -side
