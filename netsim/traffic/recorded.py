"""Requests as somebody recorded them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
from annotated_types import MinLen

from netsim.recordings import column, read_table
from netsim.streams import Floats, Streams


@dataclass(frozen=True)
class RecordedArrivals:
    """Requests at recorded instants, once through the table."""

    file: Annotated[str, MinLen(1)]
    """A Parquet file, or a CSV file with a line of names, one row a request."""
    time_column: Annotated[str, MinLen(1)] = "time_s"
    """The column with instants in seconds from the beginning of the run, in any order."""
    user_column: str | None = None
    """The column with the number of the user that asks, of whom those in the stream do; null deals the requests in turn
    to the users of the stream."""

    def of_users(self, users: Sequence[int], count: int, streams: Streams, stream: str) -> list[Iterator[float]]:
        table = read_table(self.file)
        instants_s = column(table, self.file, self.time_column)
        if len(instants_s) and instants_s.min() < 0:
            raise ValueError(f'the column "{self.time_column}" of {self.file} must hold no negative times')
        order = np.argsort(instants_s, kind="stable")
        asks = (
            np.asarray(users)[np.arange(len(order)) % len(users)]
            if self.user_column is None
            else self._users(table, count)[order]
        )
        return [iter(instants_s[order][asks == user].tolist()) for user in users]

    def _users(self, table: pa.Table, count: int) -> Floats:
        """Who makes each request."""
        users = column(table, self.file, str(self.user_column))
        if not np.isin(users, np.arange(count)).all():
            raise ValueError(f'the column "{self.user_column}" of {self.file} must hold users from 0 to {count - 1}')
        return users
