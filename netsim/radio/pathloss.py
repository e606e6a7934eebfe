"""Path loss: mean attenuation between a station and a user.

3GPP TR 38.901 (Study on channel model for frequencies from 0.5 to 100 GHz), tables 7.4.1-1 (loss) and 7.4.2-1
(probability of a line of sight). The breakpoint distance takes c = 3.0e8 m/s as the standard does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, hypot, log10, pi
from typing import Annotated, Literal, Protocol

from annotated_types import Gt

LIGHT_M_PER_S = 299_792_458.0
STANDARD_LIGHT_M_PER_S = 3.0e8
"""The speed of light as TR 38.901 rounds it."""

Condition = Literal["los", "nlos", "random"]


@dataclass(frozen=True)
class Path:
    """What a path loss law needs to know of a pair of station and user."""

    distance_m: float
    """Horizontal distance in metres."""
    station_height_m: float
    user_height_m: float
    carrier_hz: float
    surroundings: float = 0.5
    """A number in (0, 1) that stands for the chance surroundings of this pair (the environment height of UMa)."""

    @property
    def length_m(self) -> float:
        """Distance in three dimensions in metres."""
        return hypot(self.distance_m, self.station_height_m - self.user_height_m)

    @property
    def carrier_ghz(self) -> float:
        return self.carrier_hz / 1e9


class PathLoss(Protocol):
    """Mean attenuation over distance."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        """Whether nothing stands in between; `chance` is uniform in (0, 1)."""
        ...

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        """Path loss in dB. Raises ValueError outside the law's range of validity."""
        ...

    def shadowing_std_db(self, line_of_sight: bool) -> float:
        """Standard deviation of shadowing that belongs to the law, in dB."""
        ...


@dataclass(frozen=True)
class FreeSpace:
    """Free space (Friis): 20 log10(4 pi d f / c), no shadowing."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        return True

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        return _friis_db(_positive_length_m(path), path.carrier_hz)

    def shadowing_std_db(self, line_of_sight: bool) -> float:
        return 0.0


@dataclass(frozen=True)
class LogDistance:
    """Log-distance: free space up to a reference distance, then a power law; no shadowing of its own."""

    exponent: Annotated[float, Gt(0)] = 3.0
    """Path loss exponent beyond the reference distance; 2 is free space."""
    reference_distance_m: Annotated[float, Gt(0)] = 1.0
    """Distance in metres up to which propagation is as in free space."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        return True

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        length_m = _positive_length_m(path)
        near = _friis_db(min(length_m, self.reference_distance_m), path.carrier_hz)
        return near + 10 * self.exponent * max(0.0, log10(length_m / self.reference_distance_m))

    def shadowing_std_db(self, line_of_sight: bool) -> float:
        return 0.0


@dataclass(frozen=True)
class UrbanMicro:
    """3GPP TR 38.901 UMi street canyon; made for stations 10 m high."""

    condition: Condition = "random"
    """Line of sight for everybody (los), for nobody (nlos), or drawn once per user and station (random)."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        far = max(path.distance_m, 18.0)
        return _condition(self.condition, chance, 18 / far + exp(-far / 36) * (1 - 18 / far))

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        _check_range(path, "UMi")
        breakpoint_m = _breakpoint_m(path, environment_height_m=1.0)
        los = _two_slopes_db(path, breakpoint_m, offset_db=32.4, slope_db=21.0, far_db=9.5)
        if line_of_sight:
            return los
        blocked = 22.4 + 35.3 * log10(path.length_m) + 21.3 * log10(path.carrier_ghz) - 0.3 * (path.user_height_m - 1.5)
        return max(los, blocked)

    def shadowing_std_db(self, line_of_sight: bool) -> float:
        return 4.0 if line_of_sight else 7.82


@dataclass(frozen=True)
class UrbanMacro:
    """3GPP TR 38.901 UMa; made for stations 25 m high."""

    condition: Condition = "random"
    """Line of sight for everybody (los), for nobody (nlos), or drawn once per user and station (random)."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        far = max(path.distance_m, 18.0)
        street = 18 / far + exp(-far / 63) * (1 - 18 / far)
        above = max(0.0, (path.user_height_m - 13) / 10) ** 1.5
        return _condition(self.condition, chance, street * (1 + above * _rooftops(far)))

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        _check_range(path, "UMa")
        breakpoint_m = _breakpoint_m(path, self._environment_height_m(path))
        los = _two_slopes_db(path, breakpoint_m, offset_db=28.0, slope_db=22.0, far_db=9.0)
        if line_of_sight:
            return los
        blocked = 13.54 + 39.08 * log10(path.length_m) + 20 * log10(path.carrier_ghz) - 0.6 * (path.user_height_m - 1.5)
        return max(los, blocked)

    def shadowing_std_db(self, line_of_sight: bool) -> float:
        return 4.0 if line_of_sight else 6.0

    def _environment_height_m(self, path: Path) -> float:
        """Note 1 of table 7.4.1-1: 1 m, or for high users by chance a roof between 12 m and the user's own height."""
        above = max(0.0, (path.user_height_m - 13) / 10) ** 1.5
        low = 1 / (1 + above * (_rooftops(path.distance_m) if path.distance_m > 18 else 0.0))
        if path.surroundings < low:
            return 1.0
        roofs = 1 + max(0, int((path.user_height_m - 1.5 - 12.0) // 3.0))  # 12 m, 15 m and so on
        return 12.0 + 3.0 * int((path.surroundings - low) / (1 - low) * roofs)


def _friis_db(length_m: float, carrier_hz: float) -> float:
    return 20 * log10(4 * pi * length_m * carrier_hz / LIGHT_M_PER_S)


def _positive_length_m(path: Path) -> float:
    if path.length_m <= 0:
        raise ValueError("a user stands exactly at a station's antenna; move one of them or give them unequal heights")
    return path.length_m


def _check_range(path: Path, law: str) -> None:
    ranges = (
        ("the horizontal distance to a station", path.distance_m, 10.0, 5000.0, "m"),
        ("the user's height", path.user_height_m, 1.5, 22.5, "m"),
        ("the carrier", path.carrier_ghz, 0.5, 100.0, "GHz"),
    )
    for what, value, low, high, unit in ranges:
        if not low <= value <= high:
            raise ValueError(f"TR 38.901 {law} holds for {low:g} to {high:g} {unit}, but {what} is {value:g} {unit}")
    if path.station_height_m <= path.user_height_m:
        raise ValueError(
            f"TR 38.901 {law} needs stations above the users, but a station is {path.station_height_m:g} m high"
        )


def _condition(condition: Condition, chance: float, probability: float) -> bool:
    # The standard's UMa formula exceeds one just above 18 m for high users; a comparison needs no clipping.
    return condition == "los" or (condition == "random" and chance < probability)


def _rooftops(distance_m: float) -> float:
    """How much more often roofs matter to high users at a distance beyond 18 m (tables 7.4.1-1 and 7.4.2-1, UMa)."""
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


PATH_LOSSES: dict[str, type] = {
    "free_space": FreeSpace,
    "log_distance": LogDistance,
    "umi": UrbanMicro,
    "uma": UrbanMacro,
}
