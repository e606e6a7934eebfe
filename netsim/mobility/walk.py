"""Walks: straight legs one after another, so that a user's place at any instant is exact."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot, inf
from typing import NamedTuple, Protocol

from netsim.geometry import Point
from netsim.streams import Streams


class Leg(NamedTuple):
    """A straight way at constant speed, or a stay where both ends are one place."""

    start_s: float
    end_s: float
    start: Point
    end: Point

    def at(self, instant_s: float) -> Point:
        """The place at an instant of the leg."""
        if instant_s >= self.end_s or self.end_s == inf:
            return self.end
        part = (instant_s - self.start_s) / (self.end_s - self.start_s)
        (x, y), (to_x, to_y) = self.start, self.end
        return x + part * (to_x - x), y + part * (to_y - y)


class Mobility(Protocol):
    """How users move."""

    def legs(self, user: int, start: Point, streams: Streams) -> Iterator[Leg]:
        """The legs of a user that is at `start` at time zero, one after another, without end or until the user stays.

        They follow from the seed and the user alone.
        """
        ...

    def check(self, count: int) -> None:
        """Raises ValueError if the law does not fit so many users."""
        ...


class Walk:
    """One user's way. Instants are asked for in order."""

    def __init__(self, legs: Iterator[Leg], start: Point) -> None:
        self.legs = legs
        self.leg = Leg(0.0, 0.0, start, start)
        """The present one."""

    def at(self, instant_s: float) -> Point:
        """Where the user is."""
        while self.leg.end_s <= instant_s:
            following = next(self.legs, None)
            self.leg = following or Leg(self.leg.end_s, inf, self.leg.end, self.leg.end)
        return self.leg.at(instant_s)


def leg(start_s: float, start: Point, end: Point, speed_m_per_s: float) -> Leg:
    """From one place to another at a speed."""
    length_m = hypot(end[0] - start[0], end[1] - start[1])
    return Leg(start_s, start_s + length_m / speed_m_per_s, start, end)
