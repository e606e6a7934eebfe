"""How long a user stays in the cell."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Annotated

from annotated_types import Ge, Gt

from learning.ports import Streams


@dataclass(frozen=True)
class Standing:
    """A user's way to the edge of the cell over its speed (Eq. 7), both drawn for each round.

    Raises ValueError where the slowest speed is above the fastest.
    """

    cell_radius_m: Annotated[float, Gt(0)] = 500.0
    """Radius of the disc in which users are spread evenly."""
    slowest_m_per_s: Annotated[float, Ge(0)] = 1.0
    """Speeds are drawn evenly from here on."""
    fastest_m_per_s: Annotated[float, Ge(0)] = 15.0
    """Up to here."""
    longest_s: Annotated[float, Gt(0)] | None = None
    """Bound on the standing time (default: none)."""

    def __post_init__(self) -> None:
        if self.slowest_m_per_s > self.fastest_m_per_s:
            raise ValueError(
                f"slowest_m_per_s is {self.slowest_m_per_s:g}; "
                f"at most fastest_m_per_s, {self.fastest_m_per_s:g}, is allowed"
            )

    def seconds(self, user: int, number: int, streams: Streams) -> float:
        """Standing time of a user from the beginning of round `number`."""
        place, pace = streams.generator("standing", user, number).random(2)
        way_m = self.cell_radius_m * (1 - sqrt(place))
        speed = self.slowest_m_per_s + pace * (self.fastest_m_per_s - self.slowest_m_per_s)
        return min(way_m / speed if speed > 0 else inf, inf if self.longest_s is None else self.longest_s)
