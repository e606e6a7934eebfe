"""Users inside buildings: penetration loss of outer walls and rooms, 3GPP TR 38.901 clause 7.4.3.1."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import Annotated, Literal, NamedTuple

from annotated_types import Gt, Interval

from netsim.radio.pathloss.path import Path
from netsim.streams import Streams
from netsim.units import from_db

Walls = Literal["low_loss", "high_loss"]


class Indoors(NamedTuple):
    """The position of a user in a building."""

    depth_m: float
    """Horizontal distance to the outer wall in metres."""
    walls: Walls
    """Loss class of the outer wall."""
    deviation: float
    """Deviation of this building from the mean penetration loss, a standard normal number."""
    above_ground_m: float = 0.0
    """Height of the user's floor in metres."""

    def loss_db(self, path: Path) -> float:
        """Return the penetration loss in dB: outer wall, rooms, and the deviation of this building."""
        wall_db = _wall_db(path.carrier_ghz, self.walls)
        std_db = 4.4 if self.walls == "low_loss" else 6.5
        return wall_db + 0.5 * self.depth_m + std_db * self.deviation


@dataclass(frozen=True)
class Buildings:
    """Users inside buildings, which add a penetration loss to outdoor stations: TR 38.901 clause 7.4.3.1."""

    indoor_share: Annotated[float, Interval(ge=0, le=1)] = 0.8
    """Probability that a user is indoors, drawn once for each (TR 38.901 table 7.2-1: 0.8 in cities)."""
    high_loss_share: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Probability that a building has coated glass (high loss), not plain glass (our choice; RMa has only plain)."""
    max_depth_m: Annotated[float, Gt(0)] = 25.0
    """Maximum distance of indoor users from the outer wall in metres; the distance is the minimum of two uniform draws
    up to this (RMa: 10)."""

    floors: bool = False
    """True places indoor users on any floor of buildings of 4 to 8 floors of 3 m, all equally likely (TR 38.901 table
    7.2-1 by TR 36.873); false places all on the ground floor."""

    def indoors(self, user: int, streams: Streams) -> Indoors | None:
        """Return the position of a user in a building; None is outdoors. It is the same for all stations."""
        inside, coated, first, second = streams.uniform("building", user, index=range(4)).tolist()
        if inside >= self.indoor_share:
            return None
        walls: Walls = "high_loss" if coated < self.high_loss_share else "low_loss"
        depth_m, deviation = self.max_depth_m * min(first, second), streams.normal("building", user, index=4)
        return Indoors(depth_m, walls, deviation, self._floor_m(user, streams) if self.floors else 0.0)

    def _floor_m(self, user: int, streams: Streams) -> float:
        high, floor = streams.uniform("floor", user, index=range(2)).tolist()
        return 3.0 * int(floor * (4 + int(5 * high)))


def _wall_db(carrier_ghz: float, walls: Walls) -> float:
    """Loss in dB of an outer wall of glass and concrete (tables 7.4.3-1, 7.4.3-2), with 5 dB for oblique incidence."""
    concrete = from_db(-(5 + 4 * carrier_ghz))
    if walls == "low_loss":
        return 5 - 10 * log10(0.3 * from_db(-(2 + 0.2 * carrier_ghz)) + 0.7 * concrete)
    return 5 - 10 * log10(0.7 * from_db(-(23 + 0.3 * carrier_ghz)) + 0.3 * concrete)
