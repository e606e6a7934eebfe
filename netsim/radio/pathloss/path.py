"""What lies between a station and a user, and what a path loss law says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from typing import Literal, Protocol

STANDARD_LIGHT_M_PER_S = 3.0e8
"""The speed of light as TR 38.901 rounds it."""

Condition = Literal["los", "nlos", "random"]

Range = tuple[str, float, float, float, str]
"""What is bounded, its value, its bounds, their unit."""


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
    inside_m: float = 0.0
    """How much of the horizontal distance is inside the user's building in metres; 0 is outdoors."""

    @property
    def length_m(self) -> float:
        """Distance in three dimensions in metres."""
        return hypot(self.distance_m, self.station_height_m - self.user_height_m)

    @property
    def outside_m(self) -> float:
        """Horizontal distance up to the user's building in metres."""
        return max(0.0, self.distance_m - self.inside_m)

    @property
    def carrier_ghz(self) -> float:
        return self.carrier_hz / 1e9


class PathLoss(Protocol):
    """Mean attenuation over distance."""

    def line_of_sight(self, path: Path, chance: float) -> bool:
        """Whether nothing stands in between; `chance` is uniform in (0, 1)."""
        ...

    def loss_db(self, path: Path, line_of_sight: bool) -> float:
        """Path loss in dB, walls of the user's building left out. Raises ValueError outside the range of validity."""
        ...

    def shadowing_std_db(self, path: Path, line_of_sight: bool) -> float:
        """Standard deviation of shadowing that belongs to the law, in dB."""
        ...

    def decorrelation_m(self, path: Path, line_of_sight: bool) -> float:
        """Horizontal distance in metres at which shadowing that belongs to the law has the correlation 1/e.

        Those of TR 38.901 are in table 7.5-6 (correlation distance of SF).
        """
        ...


def decided(condition: Condition, chance: float, probability: float) -> bool:
    """Whether there is a line of sight where it has this probability."""
    # The standard's UMa formula exceeds one just above 18 m for high users; a comparison needs no clipping.
    return condition == "los" or (condition == "random" and chance < probability)


def check_ranges(law: str, ranges: Sequence[Range]) -> None:
    """Raises ValueError, in one sentence, for the first value out of its range."""
    for what, value, low, high, unit in ranges:
        if not low <= value <= high:
            raise ValueError(f"TR 38.901 {law} holds for {low:g} to {high:g} {unit}, but {what} is {value:g} {unit}")
