"""Walks: sequences of straight legs, so that the position of a user at any instant is exact."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot, inf
from typing import NamedTuple, Protocol

from netsim.geometry import Point
from netsim.streams import Streams


class Leg(NamedTuple):
    """A part of a walk along a straight line at constant speed; a pause if both ends are one position."""

    start_s: float
    """Simulated time of the start."""
    end_s: float
    """Simulated time of the end."""
    start: Point
    """Position at the start, x and y in metres."""
    end: Point
    """Position at the end, x and y in metres."""

    def at(self, instant_s: float) -> Point:
        """Return the position, in metres, at a simulated time of the leg in seconds."""
        if instant_s >= self.end_s or self.end_s == inf:
            return self.end
        part = (instant_s - self.start_s) / (self.end_s - self.start_s)
        (x, y), (to_x, to_y) = self.start, self.end
        return x + part * (to_x - x), y + part * (to_y - y)


class Mobility(Protocol):
    """A mobility model."""

    def legs(self, user: int, start: Point, streams: Streams) -> Iterator[Leg]:
        """Return the legs of a user, each beginning where the one before ended.

        Args:
            user: number of the user; its legs do not depend on other users.
            start: position at time zero, x and y in metres.
            streams: random numbers of the run.

        Returns:
            The legs in order, without end, or until the user stands still for good.
        """
        ...

    def check(self, count: int) -> None:
        """Raise ValueError if the model does not fit `count` users."""
        ...


class Walk:
    """The walk of one user."""

    def __init__(self, legs: Iterator[Leg], start: Point) -> None:
        """Begin a walk at time zero at `start`, x and y in metres; `legs` are its legs in order."""
        self.legs = legs
        self.leg = Leg(0.0, 0.0, start, start)
        """The present leg."""

    def at(self, instant_s: float) -> Point:
        """Return the position, in metres, at a simulated time in seconds, not before that of the last call."""
        while self.leg.end_s <= instant_s:
            following = next(self.legs, None)
            self.leg = following or Leg(self.leg.end_s, inf, self.leg.end, self.leg.end)
        return self.leg.at(instant_s)


def leg(start_s: float, start: Point, end: Point, speed_m_per_s: float) -> Leg:
    """Return the leg from one position to another, in metres, at a speed in m/s, starting at `start_s` in seconds."""
    length_m = hypot(end[0] - start[0], end[1] - start[1])
    return Leg(start_s, start_s + length_m / speed_m_per_s, start, end)
