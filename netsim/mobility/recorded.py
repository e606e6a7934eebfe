"""Recorded paths: a table of where which user was when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated

import numpy as np
from annotated_types import MinLen

from netsim.geometry import Point
from netsim.mobility.walk import Leg
from netsim.recordings import column, read_table
from netsim.streams import Floats, Streams

NAMES = ("user", "time_s", "x_m", "y_m")


@dataclass(frozen=True)
class RecordedPaths:
    """Each user goes straight from one recorded place to the next, at first from its placement, and stays at the last.

    Users that are not recorded stand still.
    """

    file: Annotated[str, MinLen(1)]
    """A Parquet file, or a CSV file with a line of names: columns user, time_s, x_m and y_m, each user in order."""

    def check(self, count: int) -> None:
        """Raises ValueError if the table cannot be read, or a user's times do not rise."""
        for user, rows in _paths(self.file).items():
            if user < 0 or user >= count:
                raise ValueError(f"{self.file} moves user {user}, but there are {count} users")
            if (rows[0] < 0).any() or (np.diff(rows[0]) <= 0).any():
                raise ValueError(f"the times of user {user} in {self.file} must not be negative, and must rise")

    def legs(self, user: int, start: Point, streams: Streams) -> Iterator[Leg]:
        now_s, place = 0.0, start
        times, across, along = _paths(self.file).get(user, np.empty((3, 0))).tolist()
        for time_s, x, y in zip(times, across, along, strict=True):
            yield Leg(now_s, time_s, place, (x, y))
            now_s, place = time_s, (x, y)


@cache
def _paths(file: str) -> dict[int, Floats]:
    """Times and places of each user, as three rows."""
    table = read_table(file)
    users, times, across, along = (column(table, file, name) for name in NAMES)
    return {int(user): np.array([times, across, along])[:, users == user] for user in np.unique(users)}
