"""Shadowing: deviations from the mean path loss by obstacles, as standard normal numbers by position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Annotated, Protocol

import numpy as np
from annotated_types import Gt, Interval

from netsim.geometry import Point
from netsim.streams import Floats, Streams, uniforms

GOLDEN = (sqrt(5) - 1) / 2
"""Multiples of it, modulo one, fill the unit interval evenly."""


class Shadowing(Protocol):
    """The correlation of shadowing between positions and stations; its standard deviation is that of the channel."""

    def standard(self, user: int, place: Point, station: int, streams: Streams, decorrelation_m: float) -> float:
        """Return the shadowing between a user and a station as a standard normal number.

        Args:
            user: number of the user.
            place: position of the user, x and y in metres.
            station: number of the site; the number does not depend on other users and sites.
            streams: random numbers of the run.
            decorrelation_m: distance in metres at which the correlation is 1/e by the path loss law.
        """
        ...


@dataclass(frozen=True)
class IndependentShadowing:
    """Independent shadowing: one draw for each user and station, whatever their positions."""

    def standard(self, user: int, place: Point, station: int, streams: Streams, decorrelation_m: float) -> float:
        return _independent(user, station, streams)


@lru_cache(maxsize=2**16)  # needed again at every update of moving users
def _independent(user: int, station: int, streams: Streams) -> float:
    return streams.normal("shadowing", user, station, index=0)


@dataclass(frozen=True)
class CorrelatedShadowing:
    """Correlated shadowing: the correlation of two positions is exp(-distance / decorrelation), and a part is common to
    all stations.

    The model of Gudmundson, Correlation model for shadow fading in mobile radio systems, Electronics Letters 27(23),
    1991, as a random field in the plane: a sum of plane waves whose lengths, directions and phases are named draws.
    """

    decorrelation_m: Annotated[float, Gt(0)] | None = None
    """Decorrelation distance in metres for all links, at which the correlation is 1/e; null is that of the path loss
    law (TR 38.901 table 7.5-6: LOS, NLOS, indoors). Links of different decorrelation distances are independent."""
    station_correlation: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Correlation of one user's shadowing from two stations (TR 36.814 annex A: 0.5; TR 38.901: 0)."""
    waves: Annotated[int, Interval(ge=16, le=100_000)] = 500
    """Number of waves in the sum. In one run the correlation deviates from the law by 0.3 / sqrt(waves) up to four
    decorrelation distances and by 0.71 / sqrt(waves) far beyond (root mean square); over runs it is exact."""

    def standard(self, user: int, place: Point, station: int, streams: Streams, decorrelation_m: float) -> float:
        apart: tuple[str, ...] = ()
        if self.decorrelation_m is None:
            apart = (f"{decorrelation_m:g} m",)  # else fields of all distances would be one at the origin
        else:
            decorrelation_m = self.decorrelation_m
        common = self.field_of(streams.key("shadowing of the place", *apart), decorrelation_m)
        own = self.field_of(streams.key("shadowing of a station", station, *apart), decorrelation_m)
        return sqrt(self.station_correlation) * common.at(place) + sqrt(1 - self.station_correlation) * own.at(place)

    @lru_cache(maxsize=1024)  # noqa: B019  needed again at every update of moving users; a law is small and stays alive
    def field_of(self, key: int, decorrelation_m: float) -> ShadowingField:
        """Return the field of a stream, with wave numbers from the spectrum of exp(-r / D) in the plane.

        Their distribution is P(k < x) = 1 - 1 / sqrt(1 + (x D)^2). Wave numbers are stratified, one in each of equally
        likely ranges, and directions are spread evenly: each still has its distribution, and the correlation in one run
        is closer to the law than with independent draws.
        """
        draws = uniforms(key, np.arange(2 * self.waves + 1))
        likely = (np.arange(self.waves) + draws[: self.waves]) / self.waves
        numbers = np.sqrt(1 / (1 - likely) ** 2 - 1) / decorrelation_m
        directions = 2 * np.pi * (draws[-1] + GOLDEN * np.arange(self.waves))
        return ShadowingField(
            numbers * np.cos(directions), numbers * np.sin(directions), 2 * np.pi * draws[self.waves : -1]
        )


@dataclass(frozen=True, eq=False)
class ShadowingField:
    """Plane waves of equal power: wave numbers along both axes in radians per metre, and phases."""

    along_x: Floats
    along_y: Floats
    phases: Floats

    def at(self, place: Point) -> float:
        """Return the field at a position: about standard normal over fields, mean 0 and variance 1 over positions."""
        waves = np.cos(self.along_x * place[0] + self.along_y * place[1] + self.phases)
        return sqrt(2 / len(waves)) * float(waves.sum())


SHADOWINGS: dict[str, type] = {"independent": IndependentShadowing, "correlated": CorrelatedShadowing}
