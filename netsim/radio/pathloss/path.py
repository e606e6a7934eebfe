"""The interface of path loss laws, and the path between a station and a user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from typing import Literal, Protocol

STANDARD_LIGHT_M_PER_S = 3.0e8
"""Speed of light as rounded in TR 38.901."""

Condition = Literal["los", "nlos", "random"]
"""Line of sight for all users, for none, or drawn."""

Range = tuple[str, float, float, float, str]
"""A range of validity: name of the quantity, its value, lower and upper bound, unit."""


@dataclass(frozen=True)
class Path:
    """The path between a station and a user, as input of a path loss law."""

    distance_m: float
    """Horizontal distance in metres."""
    station_height_m: float
    user_height_m: float
    carrier_hz: float
    surroundings: float = 0.5
    """Uniform draw in (0, 1) for the surroundings of this pair (the environment height of UMa)."""
    inside_m: float = 0.0
    """Part of the horizontal distance inside the user's building in metres; 0 is outdoors."""

    @property
    def length_m(self) -> float:
        """Three-dimensional distance in metres."""
        return hypot(self.distance_m, self.station_height_m - self.user_height_m)

    @property
    def outside_m(self) -> float:
        """Horizontal distance up to the user's building in metres."""
        return max(0.0, self.distance_m - self.inside_m)

    @property
    def carrier_ghz(self) -> float:
        return self.carrier_hz / 1e9


class PathLoss(Protocol):
    """A path loss law: mean attenuation over distance, with its probability of a line of sight and its shadowing."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        """Return True if there is a line of sight.

        Args:
            path: the path.
            chance: uniform draw in (0, 1); there is a line of sight if it is below the probability of one.
        """
        ...

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        """Return the path loss in dB, without the walls of the user's building.

        Args:
            path: the path.
            line_of_sight: True if there is a line of sight.

        Raises:
            ValueError: the path is outside of the law's range of validity.
        """
        ...

    def shadowing_std_db(self, path: Path, line_of_sight: bool) -> float:
        """Return the standard deviation of shadowing in dB; arguments as in `loss_db`."""
        ...

    def decorrelation_m(self, path: Path, line_of_sight: bool) -> float:
        """Return the horizontal distance in metres at which the correlation of shadowing is 1/e.

        Those of TR 38.901 are in table 7.5-6 (correlation distance of SF). Arguments as in `loss_db`.
        """
        ...


def decided(condition: Condition, chance: float, probability: float) -> bool:
    """Return True if there is a line of sight: by `condition`, or if the uniform draw is below the probability."""
    # The standard's UMa formula exceeds one just above 18 m for high users; a comparison needs no clipping.
    return condition == "los" or (condition == "random" and chance < probability)


def check_ranges(law: str, ranges: Sequence[Range]) -> None:
    """Raise ValueError for the first value out of its range; `law` is the name of the law in the message."""
    for what, value, low, high, unit in ranges:
        if not low <= value <= high:
            raise ValueError(f"TR 38.901 {law} holds for {low:g} to {high:g} {unit}, but {what} is {value:g} {unit}")
