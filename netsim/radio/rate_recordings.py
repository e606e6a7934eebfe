"""Recordings of rates in files: tables, and traces of the mahimahi link emulator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
import pyarrow.compute as pc
from annotated_types import Gt, MinLen

from netsim.radio.recorded import LinkTrace, Playback
from netsim.recordings import Recording, TimeOrigin, read_text, version
from netsim.streams import Floats, Streams
from netsim.units import RecurringSeconds

MAX_BPS = 1e18
"""Largest recorded rate in bit/s, a thousand times that of any fibre; sums of far larger ones would not be finite."""

OPPORTUNITY_BITS = 1500 * 8
"""Bits of one line of a mahimahi file: a packet of 1,500 bytes."""


class RateRecording(Protocol):
    """Recorded rates of links in one direction."""

    def playback(self, user: int, streams: Streams) -> Playback:
        """Return the recording of one user's link.

        Args:
            user: number of the user.
            streams: random numbers of the run, for a random start.

        Raises:
            ValueError: a file cannot be read; the message is one sentence.
        """
        ...


@dataclass(frozen=True)
class RecordedTable:
    """Rates from a table with a time and a rate in each row; a rate holds until the next row."""

    file: Annotated[str, MinLen(1), Path]
    """A Parquet file or a folder of them, or a CSV file with a header line."""
    rate_column: Annotated[str, MinLen(1)] = "rate_bps"
    """Column of rates; rows without a rate are skipped."""
    time_column: Annotated[str, MinLen(1)] = "time_s"
    """Column of times: seconds, timestamps, times of day or durations. They must not fall within a trace."""
    unit_bps: Annotated[float, Gt(0)] = 1.0
    """Unit of the column of rates in bit/s: 1000000 for Mbit/s."""
    trace_column: str | None = None
    """Column with the names of traces; null if the file is one trace."""
    traces: Annotated[tuple[str, ...], MinLen(1)] | None = None
    """Names of the traces to use; null is all. User u has trace number u, repeated cyclically."""
    step_s: RecurringSeconds = 0.1
    """Length in seconds of the steps in which the recording is averaged."""
    start: Literal["beginning", "random"] = "beginning"
    """Start of each user in its trace: the beginning, or a step drawn for each user."""
    end: Literal["again", "silence"] = "again"
    """After the end of a trace: repeat it, or carry nothing any more."""
    time_origin: TimeOrigin = "first_row"
    """The recorded time at which the run begins: first_row (of each trace), zero, a number of seconds, or a time such
    as "2024-03-01 18:15:46". Earlier rows are skipped; before the first row nothing is carried."""

    def span_s(self) -> tuple[float, float]:
        """Return the first and the last recorded time, in seconds of the run."""
        return self._table[1]

    def playback(self, user: int, streams: Streams) -> Playback:
        recorded = self._table[0]
        return _begin(recorded[user % len(recorded)], self, user, streams, self.unit_bps)

    @property
    def _table(self) -> tuple[list[LinkTrace], tuple[float, float]]:
        known = version(self.file)
        return _table(
            self.file,
            known,
            self.time_column,
            self.rate_column,
            self.unit_bps,
            self.trace_column,
            self.traces,
            self.time_origin,
        )


@dataclass(frozen=True)
class Mahimahi:
    """Rates from files of the mahimahi link emulator: each line is a millisecond at which 1,500 bytes can be sent."""

    files: Annotated[tuple[Annotated[str, MinLen(1), Path], ...], MinLen(1)]
    """Files of the traces; user u has file number u, repeated cyclically."""
    step_s: RecurringSeconds = 0.1
    """Length in seconds of the steps in which the trace is averaged; it need not be a whole number of steps long."""
    start: Literal["beginning", "random"] = "beginning"
    """Start of each user in its trace: the beginning, or a step drawn for each user."""
    end: Literal["again", "silence"] = "again"
    """After the end of a trace: repeat it, or carry nothing any more."""

    def playback(self, user: int, streams: Streams) -> Playback:
        file = self.files[user % len(self.files)]
        return _begin(_mahimahi(file, version(file)), self, user, streams)


def _begin(
    trace: LinkTrace, recording: RecordedTable | Mahimahi, user: int, streams: Streams, scale: float = 1.0
) -> Playback:
    played = Playback(trace, recording.step_s, 0, recording.end == "again", scale)
    if recording.start == "beginning":
        return played
    luck = streams.uniform("start in a recording", user, index=0)
    return replace(played, first=int(luck * (played.steps // 1)))


@lru_cache(maxsize=16)
def _table(
    file: str,
    _version: tuple[int, int],
    time: str,
    rate: str,
    unit_bps: float,
    trace: str | None,
    wanted: tuple[str, ...] | None,
    origin: TimeOrigin,
) -> tuple[list[LinkTrace], tuple[float, float]]:
    """The traces of a table, with bits in the unit of the rates, and the first and the last time of all traces."""
    recording = Recording.read(file)
    recording = recording.where(pc.is_valid(recording.values(rate)))
    parts = [recording] if trace is None else _traces(recording, trace, wanted)
    times_s = [part.seconds(time, origin) for part in parts]
    traces = [_trace(each_s, part.numbers(rate), part.name) for each_s, part in zip(times_s, parts, strict=True)]
    fastest_bps = float(recording.numbers(rate).max()) * unit_bps
    if fastest_bps > MAX_BPS:
        raise ValueError(
            f"{recording.name}: a rate is {fastest_bps:g} bit/s; at most {MAX_BPS:g} is allowed, see unit_bps"
        )
    return traces, (float(min(each_s.min() for each_s in times_s)), float(max(each_s.max() for each_s in times_s)))


def _traces(recording: Recording, trace: str, wanted: tuple[str, ...] | None) -> list[Recording]:
    """The rows of each trace, in the order of `wanted`, or by default in that of their first rows."""
    file, names = recording.name, recording.labels(trace)
    known = [name for name in names.unique().to_pylist() if name is not None]
    if not known:
        raise ValueError(f'{file} has no traces: no row has a rate, and a name in the column "{trace}"')
    for name in wanted or ():
        if name not in known:
            raise ValueError(f'{file} has no trace "{name}" with rates; it has {", ".join(known[:8])} and so on')
    return [recording.where(pc.equal(names, name), f"{file}, trace {name}") for name in wanted or known]


def _trace(times_s: Floats, rates: Floats, name: str) -> LinkTrace:
    """A trace that begins at 0. A rate holds until the next time, the last one for the median of these intervals."""
    if len(times_s) < 2 or (np.diff(times_s) < 0).any() or times_s[-1] == times_s[0]:
        raise ValueError(f"{name}: a trace needs rows at two times or more, and times must not fall")
    if (rates < 0).any():
        raise ValueError(f"{name}: a rate is negative")
    gaps_s = np.diff(times_s)
    edges_s = np.append(times_s, times_s[-1] + float(np.median(gaps_s[gaps_s > 0])))
    carried = np.concatenate([[0.0], np.cumsum(rates * np.diff(edges_s))])
    if edges_s[-1] <= 0:
        raise ValueError(f"{name}: the trace is over before its time_origin")
    if edges_s[0] == 0:
        return LinkTrace(edges_s, carried)
    kept = edges_s > 0
    before = np.interp(0.0, edges_s, carried)
    return LinkTrace(np.append(0.0, edges_s[kept]), np.append(0.0, carried[kept] - before))


@lru_cache(maxsize=64)
def _mahimahi(file: str, _version: tuple[int, int]) -> LinkTrace:
    """The trace of a file. A packet is carried in the millisecond from its time; the last time ends the trace."""
    lines = read_text(file).split()
    try:
        instants_ms = np.array(lines, dtype=np.int64)
    except ValueError:
        raise ValueError(f"{file} is no mahimahi trace: each line must be a whole number of milliseconds") from None
    if not len(instants_ms) or instants_ms[0] < 0 or (np.diff(instants_ms) < 0).any() or instants_ms[-1] == 0:
        raise ValueError(f"{file} is no mahimahi trace: its milliseconds must not fall, and the last be positive")
    begins_ms = np.minimum(instants_ms, instants_ms[-1] - 1)
    edges_ms = np.unique(np.concatenate([[0], begins_ms, begins_ms + 1, instants_ms[-1:]]))
    carried_bits = np.searchsorted(begins_ms, edges_ms) * OPPORTUNITY_BITS
    return LinkTrace(edges_ms.astype(np.float64), carried_bits.astype(np.float64), 1e-3)


RATE_RECORDINGS: dict[str, type] = {"table": RecordedTable, "mahimahi": Mahimahi}
