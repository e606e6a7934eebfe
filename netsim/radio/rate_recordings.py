"""Recordings of rates in files: tables, and traces of the mahimahi link emulator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Annotated, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Gt, MinLen

from netsim.radio.recorded import Playback
from netsim.recordings import column, find, read_table
from netsim.streams import Floats, Streams

OPPORTUNITY_BITS = 1500 * 8
"""What a line of a mahimahi file stands for."""


class RateRecording(Protocol):
    """Recorded rates of links in one direction."""

    def playback(self, user: int, streams: Streams) -> Playback:
        """What a user sees. Raises ValueError, in one sentence, if the files do not hold what they should."""
        ...


@dataclass(frozen=True)
class RecordedTable:
    """Rates from a table of a time and a rate in each row; a rate holds until the next row."""

    file: Annotated[str, MinLen(1)]
    """A .parquet or .csv file, by its path or in the folder that the environment variable NETSIM_DATA names."""
    rate_column: Annotated[str, MinLen(1)] = "rate_bps"
    """The column of rates; rows without a rate are left out."""
    time_column: Annotated[str, MinLen(1)] = "time_s"
    """The column of times in seconds; they must not fall within a trace, and count from its first."""
    unit_bps: Annotated[float, Gt(0)] = 1.0
    """Bits a second of one unit in the column of rates: 1000000 for Mbit/s."""
    trace_column: str | None = None
    """The column that tells traces apart; null if the file is one trace."""
    traces: Annotated[tuple[str, ...], MinLen(1)] | None = None
    """Names of the traces to use, null for all. User u has trace number u, and from the last on all over again."""
    step_s: Annotated[float, Gt(0)] = 0.1
    """Length in seconds of the steps into which traces are cut; what is left at the end is lost."""
    start: Literal["beginning", "random"] = "beginning"
    """Where in its trace a user begins: all at the beginning, or each at a step drawn for it."""
    end: Literal["again", "silence"] = "again"
    """What follows the end of a trace: its beginning, or nothing any more."""

    def playback(self, user: int, streams: Streams) -> Playback:
        recorded = _table(self.file, self.time_column, self.rate_column, self.trace_column, self.traces, self.step_s)
        return _begin(recorded[user % len(recorded)] * self.unit_bps, self, user, streams)


@dataclass(frozen=True)
class Mahimahi:
    """Rates from files of the mahimahi link emulator: each line the millisecond at which 1,500 bytes could be sent."""

    files: Annotated[tuple[str, ...], MinLen(1)]
    """User u has file number u, after the last the first again; paths as those of tables."""
    step_s: Annotated[float, Gt(0)] = 0.1
    """Length in seconds of the steps in which lines are counted; the last step may be filled up with silence."""
    start: Literal["beginning", "random"] = "beginning"
    """Where in its trace a user begins: all at the beginning, or each at a step drawn for it."""
    end: Literal["again", "silence"] = "again"
    """What follows the end of a trace: its beginning, or nothing any more."""

    def playback(self, user: int, streams: Streams) -> Playback:
        return _begin(_mahimahi(self.files[user % len(self.files)], self.step_s), self, user, streams)


def _begin(rates_bps: Floats, recording: RecordedTable | Mahimahi, user: int, streams: Streams) -> Playback:
    luck = streams.uniform("start in a recording", user, index=0) if recording.start == "random" else 0.0
    return Playback(rates_bps, recording.step_s, int(luck * len(rates_bps)), recording.end == "again")


@cache
def _table(
    file: str, time: str, rate: str, trace: str | None, wanted: tuple[str, ...] | None, step_s: float
) -> list[Floats]:
    """Mean rates in steps, for each trace."""
    table = read_table(file)
    for name in (time, rate, trace):
        if name is not None and name not in table.column_names:
            raise ValueError(f'{file} has no column "{name}"; it has {", ".join(table.column_names)}')
    table = table.filter(pc.is_valid(table[rate]))
    parts = [(file, table)] if trace is None else _traces(table, file, trace, wanted)
    return [_steps(column(part, file, time), column(part, file, rate), name, step_s) for name, part in parts]


def _traces(table: pa.Table, file: str, trace: str, wanted: tuple[str, ...] | None) -> list[tuple[str, pa.Table]]:
    """Name and rows of each trace, in the order that is wanted, or else of their first rows."""
    names = table[trace].cast(pa.string())
    known = [name for name in names.unique().to_pylist() if name is not None]
    for name in wanted or ():
        if name not in known:
            raise ValueError(f'{file} has no trace "{name}" with rates; it has {", ".join(known[:8])} and so on')
    return [(f"{file}, trace {name}", table.filter(pc.equal(names, name))) for name in wanted or known]


def _steps(times_s: Floats, rates: Floats, name: str, step_s: float) -> Floats:
    """Means over steps of what holds from each time to the next; the last row holds for the median of the others."""
    if len(times_s) < 2 or (np.diff(times_s) < 0).any() or times_s[-1] == times_s[0]:
        raise ValueError(f"{name}: a trace needs rows at two times or more, and times must not fall")
    if (rates < 0).any():
        raise ValueError(f"{name}: a rate is negative")
    gaps_s = np.diff(times_s)
    lasts_s = float(np.median(gaps_s[gaps_s > 0]))
    edges_s = np.append(times_s, times_s[-1] + lasts_s) - times_s[0]
    carried = np.concatenate([[0.0], np.cumsum(rates * np.diff(edges_s))])
    count = int(edges_s[-1] / step_s + 1e-6)
    if not count:
        raise ValueError(f"{name}: the trace is {edges_s[-1]:g} s long, shorter than a step of {step_s:g} s")
    return np.asarray(np.diff(np.interp(step_s * np.arange(count + 1), edges_s, carried)) / step_s)


@cache
def _mahimahi(file: str, step_s: float) -> Floats:
    try:
        instants_s = np.array(find(file).read_text().split(), dtype=np.int64) / 1000
    except (ValueError, UnicodeDecodeError) as problem:
        if "there is no file" in str(problem):
            raise
        raise ValueError(f"{file} is no mahimahi trace: each line must be a whole number of milliseconds") from None
    if not len(instants_s) or instants_s[0] < 0 or (np.diff(instants_s) < 0).any() or instants_s[-1] == 0:
        raise ValueError(f"{file} is no mahimahi trace: its milliseconds must not fall, and the last be positive")
    count = ceil(instants_s[-1] / step_s - 1e-6)
    steps = np.minimum((instants_s / step_s + 1e-6).astype(np.int64), count - 1)  # the last instant ends the trace
    return np.asarray(np.bincount(steps, minlength=count) * OPPORTUNITY_BITS / step_s)


RATE_RECORDINGS: dict[str, type] = {"table": RecordedTable, "mahimahi": Mahimahi}
