"""Dwell time: how long a user stays in the cell."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Annotated

from annotated_types import Ge, Gt

from learning.ports import Streams


@dataclass(frozen=True)
class DwellTime:
    """Distance from a user's place to the edge of the cell over its speed [ST-SFLora, Eq. 7], both drawn in each round.

    Raises ValueError where the slowest speed is above the fastest.
    """

    cell_radius_m: Annotated[float, Gt(0)] = 500.0
    """Radius of the disc over which users are distributed uniformly."""
    slowest_m_per_s: Annotated[float, Ge(0)] = 1.0
    """Lower bound of the speeds, which are uniformly distributed."""
    fastest_m_per_s: Annotated[float, Ge(0)] = 15.0
    """Upper bound of the speeds."""
    longest_s: Annotated[float, Gt(0)] | None = None
    """Upper bound of the dwell time (default: none)."""

    def __post_init__(self) -> None:
        if self.slowest_m_per_s > self.fastest_m_per_s:
            raise ValueError(
                f"slowest_m_per_s is {self.slowest_m_per_s:g}; "
                f"at most fastest_m_per_s, {self.fastest_m_per_s:g}, is allowed"
            )

    def seconds(self, user: int, number: int, streams: Streams) -> float:
        """Dwell time of a user, by its number, from the beginning of round `number`; infinite where it does not move.

        It is drawn from the stream ("standing", user, number).
        """
        place, pace = streams.generator("standing", user, number).random(2)
        way_m = self.cell_radius_m * (1 - sqrt(place))
        speed = self.slowest_m_per_s + pace * (self.fastest_m_per_s - self.slowest_m_per_s)
        return min(way_m / speed if speed > 0 else inf, inf if self.longest_s is None else self.longest_s)
