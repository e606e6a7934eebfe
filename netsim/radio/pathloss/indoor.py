"""Path loss in offices: 3GPP TR 38.901 InH, tables 7.4.1-1 and 7.4.2-1."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log10
from typing import Literal

from netsim.radio.pathloss.path import Condition, Path, check_ranges, decided


@dataclass(frozen=True)
class IndoorOffice:
    """3GPP TR 38.901 InH (indoor hotspot, office); intended for stations at 3 m and users at 1 m."""

    condition: Condition = "random"
    """Line of sight for all users (los), for none (nlos), or drawn once for each user and station (random)."""
    office: Literal["mixed", "open"] = "mixed"
    """Type of office, which determines the probability of a line of sight: cubicles and corridors (mixed), or one open
    room (open)."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        probability = _mixed if self.office == "mixed" else _open
        return decided(self.condition, chance, probability(path.distance_m))

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        if path.inside_m > 0:
            raise ValueError("TR 38.901 InH has stations and users in one office; leave buildings out")
        check_ranges(
            "InH",
            (
                ("the distance to a station", path.length_m, 1.0, 150.0, "m"),
                ("the carrier", path.carrier_ghz, 0.5, 100.0, "GHz"),
            ),
        )
        los = 32.4 + 17.3 * log10(path.length_m) + 20 * log10(path.carrier_ghz)
        if line_of_sight:
            return los
        return max(los, 17.3 + 38.3 * log10(path.length_m) + 24.9 * log10(path.carrier_ghz))

    def shadowing_std_db(self, path: Path, line_of_sight: bool) -> float:
        return 3.0 if line_of_sight else 8.03

    def decorrelation_m(self, path: Path, line_of_sight: bool) -> float:
        return 10.0 if line_of_sight else 6.0


def _mixed(distance_m: float) -> float:
    if distance_m < 6.5:
        return exp(-max(0.0, distance_m - 1.2) / 4.7)
    return 0.32 * exp(-(distance_m - 6.5) / 32.6)


def _open(distance_m: float) -> float:
    if distance_m <= 49:
        return exp(-max(0.0, distance_m - 5) / 70.8)
    return 0.54 * exp(-(distance_m - 49) / 211.7)
