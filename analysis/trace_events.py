"""Export of a run as a timeline in the trace event format, which Perfetto (ui.perfetto.dev) and Chrome open.

Each device, server and backhaul line is a process, whose threads are its jobs and the messages that it sends and
receives. A slice is the time in service; the wait before it is an argument. Rounds and their critical paths are a
process of their own, and metrics are counters. Times are microseconds of simulated time.

Format: "Trace Event Format", Google, 2016.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import pandas as pd

from analysis import measures
from analysis.run import Run

MICROSECONDS = 1e6
"""Microseconds in a second."""

ARGUMENTS = ["round", "user", "wait_s", "straggle_s", "energy_j", "interrupted"]
"""Columns of the view `activities` that the arguments of a slice are."""

Event = dict[str, Any]
"""An event whose `pid` and `tid` are names."""


def trace_events(run: Run) -> str:
    """Return the timeline of a run as JSON.

    Raises:
        NoSuchTable: the run did not record transfers, computations, rounds, critical_path or evaluations.
    """
    events = [*_rounds(run), *_activities(run.activities), *_metrics(run.evaluations)]
    content = {"displayTimeUnit": "ms", "traceEvents": list(_numbered(events))}
    return json.dumps(content, allow_nan=False)


def _rounds(run: Run) -> Iterator[Event]:
    for row in run.rounds.to_dict("records"):
        args = {name: row[name] for name in ("participants", "dropped", "staleness_mean", "energy_j")}
        yield _slice("rounds", "rounds", f"round {row['round']}", "round", (row["start_s"], row["end_s"]), args)
    for row in run.critical_path.to_dict("records"):
        name = row["cause"] if pd.isna(row["kind"]) else f"{row['kind']}, {row['cause']}"
        args = {name: row[name] for name in ("round", "user", "node")}
        yield _slice("rounds", "critical path", name, row["cause"], (row["start_s"], row["end_s"]), args)


def _activities(activities: pd.DataFrame) -> Iterator[Event]:
    """Slices of each process and thread; where several overlap, as at a server with slots, on numbered threads."""
    free_s: dict[tuple[str, str], list[float]] = {}
    begun_s = activities["start_s"] + activities["wait_s"]
    rows = activities.assign(begun_s=begun_s).sort_values("begun_s", kind="stable").to_dict("records")
    for row in rows:
        process, thread = _place(row)
        lanes = free_s.setdefault((process, thread), [])
        lane = next((number for number, until_s in enumerate(lanes) if until_s <= row["begun_s"]), len(lanes))
        lanes[lane : lane + 1] = [row["end_s"]]
        numbered = f"{thread} {lane + 1}" if lane else thread
        args = {name: row[name] for name in ARGUMENTS}
        yield _slice(process, numbered, row["kind"], row["cause"], (row["begun_s"], row["end_s"]), args)


def _place(row: Mapping[Any, Any]) -> tuple[str, str]:
    """Process and thread of an activity; a message on the air is at the user's device."""
    if row["direction"] in ("up", "down"):
        return f"user{row['user']}", f"{row['direction']}link"
    return (f"backhaul to {row['node']}", "messages") if row["direction"] == "backhaul" else (row["node"], "jobs")


def _metrics(evaluations: pd.DataFrame) -> Iterator[Event]:
    for row in measures.of_all_users(evaluations).to_dict("records"):
        if pd.notna(row["value"]) and abs(row["value"]) != float("inf"):
            name = f"{row['metric']} on {row['split']}"
            at = {"pid": "metrics", "tid": "metrics", "ts": row["time_s"] * MICROSECONDS}
            yield {"ph": "C", "name": name, **at, "args": {row["metric"]: row["value"]}}


def _slice(
    process: str, thread: str, name: str, category: str, span_s: tuple[float, float], args: Mapping[str, Any]
) -> Event:
    start_s, end_s = span_s
    times = {"ts": start_s * MICROSECONDS, "dur": (end_s - start_s) * MICROSECONDS}
    known = {key: value for key, value in args.items() if pd.notna(value)}
    return {"ph": "X", "name": name, "cat": category, "pid": process, "tid": thread, **times, "args": known}


def _numbered(events: Iterable[Event]) -> Iterator[Event]:
    """Replace names of processes and threads by numbers, in the order in which they appear, and name these."""
    processes: dict[str, int] = {}
    threads: dict[tuple[str, str], int] = {}
    next_process, next_thread = count(1), count(1)
    for event in events:
        process, thread = event["pid"], event["tid"]
        if process not in processes:
            processes[process] = next(next_process)
            yield _name("process_name", processes[process], 0, process)
        if (process, thread) not in threads:
            threads[process, thread] = next(next_thread)
            yield _name("thread_name", processes[process], threads[process, thread], thread)
        yield {**event, "pid": processes[process], "tid": threads[process, thread]}


def _name(what: str, process: int, thread: int, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}
