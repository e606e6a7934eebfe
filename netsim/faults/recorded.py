"""Recorded availability: a table of the times at which devices left and returned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import inf
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import MinLen

from netsim.faults.availability import Span
from netsim.recordings import Recording, TimeOrigin
from netsim.streams import Floats, Streams
from netsim.units import RecurringSeconds


@dataclass(frozen=True)
class RecordedAvailability:
    """Recorded availability: in each row a device becomes available (state 1) or goes away (state 0).

    Users 0, 1, 2 and so on are the recorded users in ascending order, or, if they have names, in the order of their
    first rows. A device is available before its first row.
    """

    file: Annotated[str, MinLen(1), Path]
    """A Parquet file or a folder of them, or a CSV file with a header line: columns user (numbers or names), time_s
    (seconds, timestamps, times of day or durations) and state."""
    repeat_s: RecurringSeconds | None = None
    """Period in seconds with which the recording repeats; null is once, after which a device stays in the state of its
    last row, even if that is away."""
    time_origin: TimeOrigin = None
    """The recorded time at which the run begins: first_row (the earliest), zero, a number of seconds, or a time such as
    "2024-03-01 18:15:46"; a device starts in the state of its last row before. null is first_row for timestamps, else
    zero."""

    def span_s(self) -> tuple[float, float]:
        """Return the first and the last recorded time, in seconds of the run."""
        return Recording.read(self.file).span_s("time_s", self.time_origin)

    def away(self, users: int, streams: Streams) -> list[Iterator[Span]]:
        recording = Recording.read(self.file)
        user, time_s = recording.users("user"), recording.seconds("time_s", self.time_origin)
        state = recording.numbers("state")
        if self.repeat_s is not None and len(time_s) and time_s.min() >= self.repeat_s:
            raise ValueError(
                f"{self.file} begins at {time_s.min():.10g} s, after repeat_s ({self.repeat_s:g}), which leaves "
                "nothing of it; time_origin says which recorded time is the beginning of the run, such as first_row"
            )
        if not np.isin(state, (0, 1)).all():
            raise ValueError(f'the column "state" of {self.file} must hold 1 (there) or 0 (away)')
        recorded = np.unique(user)
        if len(recorded) < users:
            raise ValueError(f"{self.file} records {len(recorded)} users, but there are {users}")
        order = np.argsort(time_s, kind="stable")
        mine = [order[user[order] == each] for each in recorded[:users]]
        return [self._spans(time_s[rows], state[rows]) for rows in mine]

    def _spans(self, times_s: Floats, states: Floats) -> Iterator[Span]:
        if self.repeat_s is None:
            yield from spans(times_s, states, inf)
            return
        recorded = list(spans(times_s, states, self.repeat_s))
        for repetition in count() if recorded else ():
            for from_s, until_s in recorded:
                yield repetition * self.repeat_s + from_s, repetition * self.repeat_s + until_s


def spans(times_s: Floats, states: Floats, end_s: float) -> Iterator[Span]:
    """Return the spans from 0 to `end_s` in which the state is 0.

    Args:
        times_s: times of the rows in seconds, ascending, shape (rows,); they may be negative.
        states: state from each time on, 1 or 0, shape (rows,).
        end_s: end in seconds; inf is none.
    """
    since_s: float | None = None
    for time_s, state in zip(times_s.tolist(), states.tolist(), strict=True):
        if state == 0 and since_s is None and time_s < end_s:
            since_s = max(time_s, 0.0)
        elif state == 1 and since_s is not None:
            if min(time_s, end_s) > since_s:
                yield since_s, min(time_s, end_s)
            since_s = None
    if since_s is not None:
        yield since_s, end_s
