"""Recorded paths: a table of users, times and positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import MinLen

from netsim.geometry import Point
from netsim.mobility.walk import Leg
from netsim.recordings import Recording, TimeOrigin, version
from netsim.streams import Floats, Streams


@dataclass(frozen=True)
class RecordedPaths:
    """Recorded paths: each user moves in a straight line from its placement to its first recorded position, then from
    one to the next, and stays at the last. Users that are not recorded stand still."""

    file: Annotated[str, MinLen(1), Path]
    """A Parquet file or a folder of them, or a CSV file with a header line: columns user (numbers, or names in the
    order of users), time_s (seconds, timestamps, times of day or durations), x_m and y_m; a user's times must rise."""
    time_origin: TimeOrigin = None
    """The recorded time at which the run begins: first_row (the earliest), zero, a number of seconds, or a time such as
    "2024-03-01 18:15:46"; users start at their positions then. null is first_row for timestamps, else zero."""

    def span_s(self) -> tuple[float, float]:
        """Return the first and the last recorded time, in seconds of the run."""
        return Recording.read(self.file).span_s("time_s", self.time_origin)

    def check(self, count: int) -> None:
        """Raise ValueError if the table cannot be read, names an unknown user, or the times of a user do not rise."""
        for user, rows in self._paths.items():
            if user < 0 or user >= count:
                raise ValueError(f"{self.file} moves user {user}, but there are {count} users")
            if (np.diff(rows[0]) <= 0).any():
                raise ValueError(f"the times of user {user} in {self.file} must rise")

    @property
    def _paths(self) -> dict[int, Floats]:
        return _paths(self.file, version(self.file), self.time_origin)

    def legs(self, user: int, start: Point, streams: Streams) -> Iterator[Leg]:
        now_s, place = 0.0, start
        times, across, along = self._paths.get(user, np.empty((3, 0))).tolist()
        for time_s, x, y in zip(times, across, along, strict=True):
            yield Leg(now_s, time_s, place, (x, y))  # a walk skips legs that end before the run begins
            now_s, place = time_s, (x, y)


@lru_cache(maxsize=4)
def _paths(file: str, _version: tuple[int, int], origin: TimeOrigin) -> dict[int, Floats]:
    """For each user its times in seconds, x and y in metres: shape (3, rows)."""
    recording = Recording.read(file)
    users = recording.users("user")
    rows = np.array([recording.seconds("time_s", origin), recording.numbers("x_m"), recording.numbers("y_m")])
    return {int(user): rows[:, users == user] for user in np.unique(users)}
