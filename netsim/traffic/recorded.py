"""Requests as somebody recorded them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import MinLen
from numpy.typing import NDArray

from netsim.recordings import Recording, TimeOrigin
from netsim.streams import Streams


@dataclass(frozen=True)
class RecordedArrivals:
    """Requests at recorded instants, once through the table."""

    file: Annotated[str, MinLen(1), Path]
    """A Parquet file or a folder of them, or a CSV file with a line of names, one row a request."""
    time_column: Annotated[str, MinLen(1)] = "time_s"
    """The column of instants, in any order: seconds, timestamps, times of day or durations."""
    user_column: str | None = None
    """The column of the user that asks, of whom those in the stream do: its number, or names of which the first is the
    first user of the stream, and so on. null deals the requests in turn to the users of the stream."""
    time_origin: TimeOrigin = None
    """The recorded time at which the run begins: first_row (the earliest), zero, a number of seconds, or a time such as
    "2024-03-01 18:15:46"; requests before are left out. null is first_row for timestamps, else zero."""

    def span_s(self) -> tuple[float, float]:
        return Recording.read(self.file).span_s(self.time_column, self.time_origin)

    def of_users(self, users: Sequence[int], count: int, streams: Streams, stream: str) -> list[Iterator[float]]:
        recording = Recording.read(self.file)
        instants_s = recording.seconds(self.time_column, self.time_origin)
        order = np.argsort(instants_s, kind="stable")
        order = order[instants_s[order] >= 0]
        if self.user_column is None:
            asks = np.asarray(users)[np.arange(len(order)) % len(users)]
        else:
            asks = self._users(recording, self.user_column, users, count)[order]
        return [iter(instants_s[order][asks == user].tolist()) for user in users]

    def _users(self, recording: Recording, name: str, users: Sequence[int], count: int) -> NDArray[np.int64]:
        """Who makes each request."""
        recorded = recording.users(name)
        if recording.named(name):
            if len(recorded) and recorded.max() >= len(users):
                raise ValueError(
                    f'the column "{name}" of {self.file} names {recorded.max() + 1} users, but {len(users)} ask; leave '
                    "user_column out to deal the requests to these in turn"
                )
            return np.asarray(users)[recorded]
        if not np.isin(recorded, np.arange(count)).all():
            raise ValueError(f'the column "{name}" of {self.file} must hold users from 0 to {count - 1}')
        return recorded
