"""Path loss in rural areas: 3GPP TR 38.901 RMa, tables 7.4.1-1 and 7.4.2-1."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log10, pi, pow
from typing import Annotated

from annotated_types import Interval

from netsim.radio.pathloss.path import STANDARD_LIGHT_M_PER_S, Condition, Path, check_ranges, decided


@dataclass(frozen=True)
class RuralMacro:
    """3GPP TR 38.901 RMa (rural macro); intended for stations at 35 m."""

    condition: Condition = "random"
    """Line of sight for all users (los), for none (nlos), or drawn once for each user and station (random)."""
    building_height_m: Annotated[float, Interval(ge=5, le=50)] = 5.0
    """Average height of buildings in metres."""
    street_width_m: Annotated[float, Interval(ge=5, le=50)] = 20.0
    """Average width of streets in metres."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        return decided(self.condition, chance, exp(-max(0.0, path.outside_m - 10) / 1000))

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        check_ranges(
            f"RMa with{'' if line_of_sight else 'out'} a line of sight",
            (
                ("the horizontal distance to a station", path.distance_m, 10.0, 1e4 if line_of_sight else 5e3, "m"),
                ("the station's height", path.station_height_m, 10.0, 150.0, "m"),
                ("the user's height", path.user_height_m, 1.0, 10.0, "m"),
                ("the carrier", path.carrier_ghz, 0.5, 30.0, "GHz"),
            ),
        )
        los = self._two_slopes_db(path)
        return los if line_of_sight else max(los, self._blocked_db(path))

    def shadowing_std_db(self, path: Path, line_of_sight: bool) -> float:
        if path.inside_m > 0 or not line_of_sight:
            return 8.0
        return 4.0 if path.distance_m <= _breakpoint_m(path) else 6.0

    def decorrelation_m(self, path: Path, line_of_sight: bool) -> float:
        return 37.0 if line_of_sight and path.inside_m == 0 else 120.0

    def _two_slopes_db(self, path: Path) -> float:
        breakpoint_m = _breakpoint_m(path)
        if path.distance_m <= breakpoint_m:
            return self._near_db(path, path.length_m)
        return self._near_db(path, breakpoint_m) + 40 * log10(path.length_m / breakpoint_m)

    def _near_db(self, path: Path, length_m: float) -> float:
        """PL1 of the table."""
        roofs = pow(self.building_height_m, 1.72)
        friis_db = 20 * log10(40 * pi * length_m * path.carrier_ghz / 3)
        clutter_db = min(0.03 * roofs, 10) * log10(length_m) - min(0.044 * roofs, 14.77)
        return friis_db + clutter_db + 0.002 * log10(self.building_height_m) * length_m

    def _blocked_db(self, path: Path) -> float:
        """PL' of the table, without a line of sight."""
        station, height = log10(path.station_height_m), self.building_height_m
        streets_db = 161.04 - 7.1 * log10(self.street_width_m) + 7.5 * log10(height)
        roofs_db = (24.37 - 3.7 * (height / path.station_height_m) ** 2) * station
        distance_db = (43.42 - 3.1 * station) * (log10(path.length_m) - 3)
        user_db = 3.2 * log10(11.75 * path.user_height_m) ** 2 - 4.97
        return streets_db - roofs_db + distance_db + 20 * log10(path.carrier_ghz) - user_db


def _breakpoint_m(path: Path) -> float:
    return 2 * pi * path.station_height_m * path.user_height_m * path.carrier_hz / STANDARD_LIGHT_M_PER_S
