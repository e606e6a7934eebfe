"""Path loss in urban areas: 3GPP TR 38.901 UMi street canyon and UMa.

Tables 7.4.1-1 (loss) and 7.4.2-1 (probability of a line of sight); shadowing indoors from table 7.5-6. The breakpoint
distance takes c = 3.0e8 m/s as the standard does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log10

from netsim.radio.pathloss.path import STANDARD_LIGHT_M_PER_S, Condition, Path, check_ranges, decided

STREET_CLUTTER_M = 1.0
"""Environment height of streets, above which heights count in the breakpoint distance (table 7.4.1-1, note 1)."""


@dataclass(frozen=True)
class UrbanMicro:
    """3GPP TR 38.901 UMi (urban micro, street canyon); intended for stations at 10 m."""

    condition: Condition = "random"
    """Line of sight for all users (los), for none (nlos), or drawn once for each user and station (random)."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        far = max(path.outside_m, 18.0)
        return decided(self.condition, chance, 18 / far + exp(-far / 36) * (1 - 18 / far))

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        _check_range(path, "UMi")
        breakpoint_m = _breakpoint_m(path, environment_height_m=STREET_CLUTTER_M)
        los = _two_slopes_db(path, breakpoint_m, offset_db=32.4, slope_db=21.0, far_db=9.5)
        if line_of_sight:
            return los
        blocked = 22.4 + 35.3 * log10(path.length_m) + 21.3 * log10(path.carrier_ghz) - 0.3 * (path.user_height_m - 1.5)
        return max(los, blocked)

    def shadowing_std_db(self, path: Path, line_of_sight: bool) -> float:
        if path.inside_m > 0:
            return 7.0
        return 4.0 if line_of_sight else 7.82

    def decorrelation_m(self, path: Path, line_of_sight: bool) -> float:
        if path.inside_m > 0:
            return 7.0
        return 10.0 if line_of_sight else 13.0


@dataclass(frozen=True)
class UrbanMacro:
    """3GPP TR 38.901 UMa (urban macro); intended for stations at 25 m."""

    condition: Condition = "random"
    """Line of sight for all users (los), for none (nlos), or drawn once for each user and station (random)."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        far = max(path.outside_m, 18.0)
        street = 18 / far + exp(-far / 63) * (1 - 18 / far)
        above = max(0.0, (path.user_height_m - 13) / 10) ** 1.5
        return decided(self.condition, chance, street * (1 + above * _rooftops(far)))

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        _check_range(path, "UMa")
        if path.station_height_m <= path.user_height_m:
            raise ValueError(
                f"TR 38.901 UMa needs stations above the users, but a station is {path.station_height_m:g} m high"
            )
        breakpoint_m = _breakpoint_m(path, self._environment_height_m(path))
        los = _two_slopes_db(path, breakpoint_m, offset_db=28.0, slope_db=22.0, far_db=9.0)
        if line_of_sight:
            return los
        blocked = 13.54 + 39.08 * log10(path.length_m) + 20 * log10(path.carrier_ghz) - 0.6 * (path.user_height_m - 1.5)
        return max(los, blocked)

    def shadowing_std_db(self, path: Path, line_of_sight: bool) -> float:
        if path.inside_m > 0:
            return 7.0
        return 4.0 if line_of_sight else 6.0

    def decorrelation_m(self, path: Path, line_of_sight: bool) -> float:
        if path.inside_m > 0:
            return 7.0
        return 37.0 if line_of_sight else 50.0

    def _environment_height_m(self, path: Path) -> float:
        """Note 1 of table 7.4.1-1: 1 m, or for high users by chance a roof between 12 m and the user's own height."""
        above = max(0.0, (path.user_height_m - 13) / 10) ** 1.5
        low = 1 / (1 + above * (_rooftops(path.distance_m) if path.distance_m > 18 else 0.0))
        if path.surroundings < low:
            return STREET_CLUTTER_M
        roofs = 1 + max(0, int((path.user_height_m - 1.5 - 12.0) // 3.0))  # 12 m, 15 m and so on
        return 12.0 + 3.0 * int((path.surroundings - low) / (1 - low) * roofs)


def _check_range(path: Path, law: str) -> None:
    check_ranges(
        law,
        (
            ("the horizontal distance to a station", path.distance_m, 10.0, 5000.0, "m"),
            ("the user's height", path.user_height_m, 1.5, 22.5, "m"),
            ("the carrier", path.carrier_ghz, 0.5, 100.0, "GHz"),
        ),
    )
    if path.station_height_m <= STREET_CLUTTER_M:
        raise ValueError(
            f"TR 38.901 {law} needs stations above {STREET_CLUTTER_M:g} m, but one is {path.station_height_m:g} m high"
        )


def _rooftops(distance_m: float) -> float:
    """Distance factor of the term for users above 13 m, beyond 18 m (tables 7.4.1-1 and 7.4.2-1, UMa)."""
    return 1.25 * (distance_m / 100) ** 3 * exp(-distance_m / 150)


def _breakpoint_m(path: Path, environment_height_m: float) -> float:
    station, user = path.station_height_m - environment_height_m, path.user_height_m - environment_height_m
    return 4 * station * user * path.carrier_hz / STANDARD_LIGHT_M_PER_S


def _two_slopes_db(path: Path, breakpoint_m: float, *, offset_db: float, slope_db: float, far_db: float) -> float:
    """Line of sight of both urban laws: `slope_db` a decade up to the breakpoint, 40 dB beyond."""
    common = offset_db + 20 * log10(path.carrier_ghz)
    if path.distance_m <= breakpoint_m:
        return common + slope_db * log10(path.length_m)
    climb_m = path.station_height_m - path.user_height_m
    return common + 40 * log10(path.length_m) - far_db * log10(breakpoint_m**2 + climb_m**2)
