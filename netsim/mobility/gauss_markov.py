"""Gauss-Markov mobility: velocities that are correlated over time, so that paths are smooth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, hypot, pi, sqrt
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from netsim.geometry import Point
from netsim.mobility.walk import Leg
from netsim.mobility.waypoint import KMH
from netsim.streams import Streams
from netsim.units import RecurringSeconds


@dataclass(frozen=True)
class GaussMarkov:
    """Gauss-Markov mobility: each component of the velocity is a process with mean zero, v' = a v + s sqrt(1 - a^2) n.

    Liang, Haas, Predictive distance-based mobility management for PCS networks, IEEE INFOCOM 1999, without drift. The
    velocity is constant within a step; at the edge of a disc around the origin it is reflected.
    """

    radius_m: Annotated[float, Ge(0.1)] = 100.0
    """Radius of the disc in metres."""
    speed_kmh: Annotated[float, Interval(gt=0, le=100_000)] = 3.0
    """Mean speed in km/h; speeds have a Rayleigh distribution."""
    memory_s: Annotated[float, Gt(0)] = 10.0
    """Correlation time of the velocity in seconds, after which the autocorrelation has fallen to 1/e."""
    step_s: RecurringSeconds = 1.0
    """Duration of a step in seconds."""

    def check(self, count: int) -> None:
        """Accept any number of users."""

    def legs(self, user: int, start: Point, streams: Streams) -> Iterator[Leg]:
        scale = self.speed_kmh * KMH / sqrt(pi / 2)  # standard deviation of a component
        correlation = exp(-self.step_s / self.memory_s)
        noise_scale = scale * sqrt(1 - correlation**2)
        (x, y), step = start, 1
        v_x, v_y = (scale * n for n in streams.normal("velocity", user, index=(0, 1)).tolist())
        while True:
            v_x, v_y = self._reflected(x, y, v_x, v_y)
            to_x, to_y = x + v_x * self.step_s, y + v_y * self.step_s
            yield Leg((step - 1) * self.step_s, step * self.step_s, (x, y), (to_x, to_y))
            x, y = to_x, to_y
            noise = streams.normal("velocity", user, index=(2 * step, 2 * step + 1)).tolist()
            v_x, v_y = correlation * v_x + noise_scale * noise[0], correlation * v_y + noise_scale * noise[1]
            step += 1

    def _reflected(self, x: float, y: float, v_x: float, v_y: float) -> Point:
        """The velocity in m/s, reflected if it leads out of the disc and away from its middle."""
        outwards = x * v_x + y * v_y
        if hypot(x + v_x * self.step_s, y + v_y * self.step_s) <= self.radius_m or outwards <= 0:
            return v_x, v_y
        factor = 2 * outwards / (x**2 + y**2)
        return v_x - factor * x, v_y - factor * y
