"""Dwell time: how long a user stays in the cell."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Annotated

from annotated_types import Ge, Gt

from learning.ports import Streams


@dataclass(frozen=True)
class DwellTime:
    """Distance from a user to the edge of the cell over its speed [ST-SFLora, Eq. 7], both drawn in each round.

    Raises ValueError where `min_speed_m_per_s` exceeds `max_speed_m_per_s`.
    """

    cell_radius_m: Annotated[float, Gt(0)] = 500.0
    """Radius of the disc over which users are distributed uniformly."""
    min_speed_m_per_s: Annotated[float, Ge(0)] = 1.0
    """Lower bound of the speeds, which are uniformly distributed."""
    max_speed_m_per_s: Annotated[float, Ge(0)] = 15.0
    """Upper bound of the speeds."""
    max_s: Annotated[float, Gt(0)] | None = None
    """Upper bound of the dwell time (default: none)."""

    def __post_init__(self) -> None:
        if self.min_speed_m_per_s > self.max_speed_m_per_s:
            raise ValueError(
                f"min_speed_m_per_s is {self.min_speed_m_per_s:g}; "
                f"at most max_speed_m_per_s, {self.max_speed_m_per_s:g}, is allowed"
            )

    def seconds(self, user: int, number: int, streams: Streams) -> float:
        """Dwell time from the beginning of a round; infinite where a user does not move and `max_s` is not given.

        Args:
            user: number of the user.
            number: number of the round.
            streams: the run's random streams, of which ("standing", user, number) is used.
        """
        place, pace = streams.generator("standing", user, number).random(2)
        way_m = self.cell_radius_m * (1 - sqrt(place))
        speed = self.min_speed_m_per_s + pace * (self.max_speed_m_per_s - self.min_speed_m_per_s)
        return min(way_m / speed if speed > 0 else inf, inf if self.max_s is None else self.max_s)
