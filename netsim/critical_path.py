"""Which chain of work decided when a round ended, and what its time went into."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Activity(NamedTuple):
    """A job or a transfer, asked for at `start_s`: it waited, then was served as planned, then was slowed down."""

    user: int | None
    node: str
    kind: str
    cause: str  # what the planned service is: compute or airtime
    start_s: float
    wait_s: float
    straggle_s: float
    end_s: float
    completed: bool


class PathSegment(NamedTuple):
    """A part of the chain with one cause."""

    user: int | None
    node: str | None
    kind: str | None
    cause: str  # compute, straggle, queue, airtime or wait
    start_s: float
    end_s: float


def critical_path(activities: Sequence[Activity], start_s: float, end_s: float) -> list[PathSegment]:
    """The chain that decided `end_s`, from `start_s` on, without gaps.

    Walks back from the end: whatever ended at exactly this instant was waited for, and before it whatever ended when it
    was asked for. Of several, completed work goes before work given up, then the same user's, then the same node's,
    then what was recorded first. Where nothing ended, time passed waiting (for a timer).
    """
    ending: dict[float, list[Activity]] = {}
    for activity in activities:
        ending.setdefault(activity.end_s, []).append(activity)
    ends_s = sorted(ending)
    segments: list[PathSegment] = []
    last: Activity | None = None
    at_s = end_s
    while at_s > start_s:
        earlier = [activity for activity in ending.get(at_s, ()) if activity.start_s < at_s]
        if earlier:
            last = _waited_for(earlier, last)
            segments += reversed(list(_split(last, max(last.start_s, start_s))))
            at_s = last.start_s
        else:
            before = bisect_left(ends_s, at_s)
            idle_from_s = max(start_s, ends_s[before - 1]) if before else start_s
            segments.append(PathSegment(None, None, None, "wait", idle_from_s, at_s))
            at_s = idle_from_s
    return segments[::-1]


def _waited_for(candidates: list[Activity], after: Activity | None) -> Activity:
    """The first of the best: `min` keeps the order of recording among equals."""

    def rank(activity: Activity) -> tuple[bool, bool, bool]:
        if after is None:
            return not activity.completed, False, False
        return not activity.completed, activity.user != after.user, activity.node != after.node

    return min(candidates, key=rank)


def _split(activity: Activity, from_s: float) -> Iterator[PathSegment]:
    """The parts of an activity after `from_s`, empty ones left out."""
    served_s = min(activity.start_s + activity.wait_s, activity.end_s)
    planned_s = max(activity.end_s - activity.straggle_s, served_s)
    causes = {"queue": (activity.start_s, served_s), activity.cause: (served_s, planned_s)}
    causes["straggle"] = (planned_s, activity.end_s)
    for cause, (low_s, high_s) in causes.items():
        if max(low_s, from_s) < high_s:
            yield PathSegment(activity.user, activity.node, activity.kind, cause, max(low_s, from_s), high_s)
