"""Recorded requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import MinLen
from numpy.typing import NDArray

from netsim.recordings import Recording, TimeOrigin
from netsim.streams import Floats, Streams
from netsim.traffic.arrivals import Arrival


@dataclass(frozen=True)
class RecordedArrivals:
    """Recorded requests: arrival times, and optionally sizes, from a table that is played once."""

    file: Annotated[str, MinLen(1), Path]
    """A Parquet file or a folder of them, or a CSV file with a header line, one row for each request."""
    time_column: Annotated[str, MinLen(1)] = "time_s"
    """Column of arrival times, in any order: seconds, timestamps, times of day or durations."""
    user_column: str | None = None
    """Column of users: numbers, of which those of the stream's users count, or names, of which the first to occur is
    the first user of the stream, and so on. null assigns the requests to the users of the stream in turn."""
    time_origin: TimeOrigin = None
    """The recorded time at which the run begins: first_row (the earliest), zero, a number of seconds, or a time such as
    "2024-03-01 18:15:46"; earlier requests are skipped. null is first_row for timestamps, else zero."""

    uplink_bits_column: str | None = None
    """Column of the requests' sizes in bits; null uses `uplink_bits` of the stream."""
    flops_column: str | None = None
    """Column of floating-point operations at the server; null uses `flops` of the stream."""
    downlink_bits_column: str | None = None
    """Column of the answers' sizes in bits; null uses `downlink_bits` of the stream."""

    def span_s(self) -> tuple[float, float]:
        """Return the first and the last recorded time, in seconds of the run."""
        return Recording.read(self.file).span_s(self.time_column, self.time_origin)

    def of_users(self, users: Sequence[int], count: int, streams: Streams, stream: str) -> list[Iterator[Arrival]]:
        recording = Recording.read(self.file)
        instants_s = recording.seconds(self.time_column, self.time_origin)
        order = np.argsort(instants_s, kind="stable")
        order = order[instants_s[order] >= 0]
        if self.user_column is None:
            user_of = np.asarray(users)[np.arange(len(order)) % len(users)]
        else:
            user_of = self._users(recording, self.user_column, users, count)[order]
        names = self.uplink_bits_column, self.flops_column, self.downlink_bits_column  # in the order of an arrival's
        sizes = [self._sizes(recording, name) for name in names]
        return [self._arrivals(instants_s, sizes, order[user_of == user]) for user in users]

    def _sizes(self, recording: Recording, name: str | None) -> Floats | None:
        if name is None:
            return None
        sizes = recording.numbers(name)
        if (sizes < 0).any():
            raise ValueError(f'the column "{name}" of {self.file} must hold no negative sizes')
        return sizes

    def _arrivals(
        self, instants_s: Floats, sizes: Sequence[Floats | None], rows: NDArray[np.int64]
    ) -> Iterator[Arrival]:
        """The arrivals in these rows of the table, in order."""
        columns = [repeat(None) if each is None else each[rows].tolist() for each in sizes]
        return (Arrival(*row) for row in zip(instants_s[rows].tolist(), *columns, strict=False))

    def _users(self, recording: Recording, name: str, users: Sequence[int], count: int) -> NDArray[np.int64]:
        """The number of the user of each row, shape (rows,)."""
        recorded = recording.users(name)
        if recording.named(name):
            if len(recorded) and recorded.max() >= len(users):
                raise ValueError(
                    f'the column "{name}" of {self.file} names {recorded.max() + 1} users, but the stream has '
                    f"{len(users)}; leave user_column out to assign the requests to these in turn"
                )
            return np.asarray(users)[recorded]
        if not np.isin(recorded, np.arange(count)).all():
            raise ValueError(f'the column "{name}" of {self.file} must hold users from 0 to {count - 1}')
        return recorded
