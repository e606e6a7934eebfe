"""Deadlocks: which processes wait for which events when no scheduled event is left, or when time stands still."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, GeneratorType
from typing import Any

import simpy
from simpy.resources.base import Get, Put

from netsim.semaphore import Turn

MAX_LISTED = 8
"""Number of processes named in a message; the others are counted."""

ROOT = Path(__file__).parents[1]
"""Folder of the packages, to which paths in messages are relative."""


def describe(env: simpy.Environment) -> str:
    """Return one sentence about a deadlock: which users are out of range, and which processes wait for what."""
    out_of_range = sorted({sentence for process in _alive(env) for sentence in _out_of_range(process)})
    first = f"{_listed(out_of_range)}; " if out_of_range else ""
    return f"{first}nothing is going to happen any more, and the scheme has not ended: {waiting(env)}"


def waiting(env: simpy.Environment) -> str:
    """Return which processes wait for what, in words."""
    return _listed(sorted(_sentence(process) for process in _alive(env)))


def _alive(env: simpy.Environment) -> list[simpy.Process]:
    """The processes that have not ended, found among all objects in memory: other runs need no list of them."""
    # `type` instead of `isinstance`, which would evaluate the attributes of lazy proxies
    processes = [each for each in gc.get_objects() if issubclass(type(each), simpy.Process)]
    return [process for process in processes if process.env is env and process.is_alive]


def _listed(sentences: list[str]) -> str:
    more = f"; and {len(sentences) - MAX_LISTED} more" if len(sentences) > MAX_LISTED else ""
    return f"{'; '.join(sentences[:MAX_LISTED])}{more}"


def _out_of_range(process: simpy.Process) -> list[str]:
    """Sentences about receivers out of range, if the process waits for a transfer."""
    transmission = _first(list(_frames(process)), "transmission")
    return [] if transmission is None else transmission.out_of_range(process.env.now)


def _sentence(process: simpy.Process) -> str:
    resource = getattr(process.target, "resource", None)
    frames = [frame for frame in _frames(process) if resource is None or frame.f_locals.get("self") is not resource]
    user = _first(frames, "user")
    number = getattr(user, "number", user)
    name = f"user {number}" if isinstance(number, int) else frames[0].f_code.co_qualname
    return f"{name} waits in {_place(frames[-1])} for {_event(process.target, frames)}"


def _frames(process: simpy.Process) -> Iterator[FrameType]:
    """The frames of a process, from the outermost generator to the innermost."""
    generator: Any = process._generator
    while isinstance(generator, GeneratorType) and generator.gi_frame is not None:
        yield generator.gi_frame
        generator = generator.gi_yieldfrom


def _place(frame: FrameType) -> str:
    file = Path(frame.f_code.co_filename)
    shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file.name
    return f"{frame.f_code.co_qualname} ({shown}:{frame.f_lineno})"


def _event(event: simpy.Event | None, frames: list[FrameType]) -> str:
    """The event that a process waits for, with the node and the kind of work from the variables of its frames."""
    kind = _first(frames, "kind")
    about = f" ({kind})" if isinstance(kind, str) else ""
    node = next((each for frame in frames[::-1] if isinstance(each := _node(frame), str)), None)
    at = f" at {node}" if node else ""
    if isinstance(event, simpy.events.Condition):
        missing = sum(not each.triggered for each in event._events)
        return f"{missing} of {len(event._events)} events{about}"
    if isinstance(event, Put | Get | Turn):
        return f"a {type(event.resource).__name__}{at}{about}"
    return f"{'a process' if isinstance(event, simpy.Process) else 'an event'}{at}{about}"


def _node(frame: FrameType) -> Any:
    return getattr(frame.f_locals.get("self"), "node", None)


def _first(frames: list[FrameType], name: str) -> Any:
    return next((frame.f_locals[name] for frame in frames if name in frame.f_locals), None)
