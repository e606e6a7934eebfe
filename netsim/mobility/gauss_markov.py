"""Gauss-Markov mobility: velocities that remember, so that paths bend instead of breaking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, hypot, pi, sqrt
from typing import Annotated

from annotated_types import Gt

from netsim.geometry import Point
from netsim.mobility.walk import Leg
from netsim.mobility.waypoint import KMH
from netsim.streams import Streams


@dataclass(frozen=True)
class GaussMarkov:
    """Both components of the velocity are Gauss-Markov processes with mean zero: v' = a v + s sqrt(1 - a^2) n.

    Liang, Haas, Predictive distance-based mobility management for PCS networks, IEEE INFOCOM 1999, without a drift. The
    velocity is constant within a step; at the edge of a disc around the origin it is mirrored.
    """

    radius_m: Annotated[float, Gt(0)] = 100.0
    """Radius of the disc in metres."""
    speed_kmh: Annotated[float, Gt(0)] = 3.0
    """Mean speed in km/h; speeds have a Rayleigh distribution."""
    memory_s: Annotated[float, Gt(0)] = 10.0
    """Time in seconds after which the correlation of the velocity has fallen to 1/e."""
    step_s: Annotated[float, Gt(0)] = 1.0
    """Time in seconds for which the velocity is constant."""

    def check(self, count: int) -> None:
        """Fits any number of users."""

    def legs(self, user: int, start: Point, streams: Streams) -> Iterator[Leg]:
        scale = self.speed_kmh * KMH / sqrt(pi / 2)  # standard deviation of a component
        kept = exp(-self.step_s / self.memory_s)
        renewed = scale * sqrt(1 - kept**2)
        (x, y), step = start, 1
        across, along = (scale * n for n in streams.normal("velocity", user, index=(0, 1)).tolist())
        while True:
            across, along = self._mirrored(x, y, across, along)
            to_x, to_y = x + across * self.step_s, y + along * self.step_s
            yield Leg((step - 1) * self.step_s, step * self.step_s, (x, y), (to_x, to_y))
            x, y = to_x, to_y
            noise = streams.normal("velocity", user, index=(2 * step, 2 * step + 1)).tolist()
            across, along = kept * across + renewed * noise[0], kept * along + renewed * noise[1]
            step += 1

    def _mirrored(self, x: float, y: float, across: float, along: float) -> Point:
        """The velocity, turned inwards if it would lead out of the disc and farther from its middle."""
        outwards = x * across + y * along
        if hypot(x + across * self.step_s, y + along * self.step_s) <= self.radius_m or outwards <= 0:
            return across, along
        factor = 2 * outwards / (x**2 + y**2)
        return across - factor * x, along - factor * y
