"""The critical path of a round: the chain of work and waits that decided when the round ended."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Activity(NamedTuple):
    """A job or a transfer: requested at `start_s`, it waits, is served at nominal speed, then is slowed down."""

    user: int | None
    """Number of the user; None if it serves no single user."""
    node: str
    """Name of the node."""
    kind: str
    """Kind of computation or payload."""
    cause: str
    """Cause of the time in service: compute or airtime."""
    start_s: float
    """Simulated time of the request."""
    wait_s: float
    """Waiting time."""
    straggle_s: float
    """Part of the service time by which it exceeds that at nominal speed."""
    end_s: float
    """Simulated time of the end."""
    completed: bool
    """False if it was abandoned."""


class PathSegment(NamedTuple):
    """A part of a critical path with one cause."""

    user: int | None
    """Number of the user; None for waits, and for work that serves no single user."""
    node: str | None
    """Name of the node; None for waits."""
    kind: str | None
    """Kind of computation or payload; None for waits."""
    cause: str
    """compute, straggle, queue, airtime or wait."""
    start_s: float
    end_s: float


def critical_path(activities: Sequence[Activity], start_s: float, end_s: float) -> list[PathSegment]:
    """Return the chain of work that decided when a round ended.

    The chain is traced back from the end. An activity that ended exactly then was waited for, before it one that ended
    when this one was requested, and so on. Of several such activities, completed ones are preferred to abandoned ones,
    then those of the same user, then those of the same node, then the one recorded first. Where no activity ended, the
    time is a wait, for example for a timer.

    Args:
        activities: all activities of the round, in the order of recording.
        start_s: simulated time of the round's start.
        end_s: simulated time of the round's end.

    Returns:
        Segments from `start_s` to `end_s` in order of time, without gaps.
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
    """The activity that `after` waited for, by the order of preference; `min` takes the first of equals."""

    def rank(activity: Activity) -> tuple[bool, bool, bool]:
        if after is None:
            return not activity.completed, False, False
        return not activity.completed, activity.user != after.user, activity.node != after.node

    return min(candidates, key=rank)


def _split(activity: Activity, from_s: float) -> Iterator[PathSegment]:
    """The segments of an activity after `from_s`, without empty ones."""
    served_s = min(activity.start_s + activity.wait_s, activity.end_s)
    planned_s = max(activity.end_s - activity.straggle_s, served_s)
    causes = {"queue": (activity.start_s, served_s), activity.cause: (served_s, planned_s)}
    causes["straggle"] = (planned_s, activity.end_s)
    for cause, (low_s, high_s) in causes.items():
        if max(low_s, from_s) < high_s:
            yield PathSegment(activity.user, activity.node, activity.kind, cause, max(low_s, from_s), high_s)
