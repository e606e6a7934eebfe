"""Deadlocks: which processes wait for what when no event is left that could wake them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, GeneratorType
from typing import Any

import simpy
from simpy.resources.base import Get, Put

MAX_LISTED = 8
"""Processes named in a sentence; the rest is counted."""

ROOT = Path(__file__).parents[1]


def describe(env: simpy.Environment) -> str:
    """One sentence: who is out of range, and which processes of a world wait, where, and for what.

    Processes are looked for only now, in all of memory, so that a run that goes well pays nothing for it.
    """
    processes = [each for each in gc.get_objects() if issubclass(type(each), simpy.Process)]  # asks no proxy
    alive = [process for process in processes if process.env is env and process.is_alive]
    unheard = sorted({sentence for process in alive for sentence in _out_of_range(process)})
    waiting = sorted(_sentence(process) for process in alive)
    first = f"{_listed(unheard)}; " if unheard else ""
    return f"{first}nothing is going to happen any more, and the scheme has not ended: {_listed(waiting)}"


def _listed(sentences: list[str]) -> str:
    more = f"; and {len(sentences) - MAX_LISTED} more" if len(sentences) > MAX_LISTED else ""
    return f"{'; '.join(sentences[:MAX_LISTED])}{more}"


def _out_of_range(process: simpy.Process) -> list[str]:
    """What a transfer that the process waits for says of its receivers."""
    transmission = _first(list(_frames(process)), "transmission")
    return [] if transmission is None else transmission.out_of_range(process.env.now)


def _sentence(process: simpy.Process) -> str:
    frames = list(_frames(process))
    who = _first(frames, "user")
    number = getattr(who, "number", who)
    name = f"user {number}" if isinstance(number, int) else frames[0].f_code.co_qualname
    return f"{name} waits in {_place(frames[-1])} for {_event(process.target, frames)}"


def _frames(process: simpy.Process) -> Iterator[FrameType]:
    """Where a process is, from the outside in."""
    generator: Any = process._generator
    while isinstance(generator, GeneratorType) and generator.gi_frame is not None:
        yield generator.gi_frame
        generator = generator.gi_yieldfrom


def _place(frame: FrameType) -> str:
    file = Path(frame.f_code.co_filename)
    shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file.name
    return f"{frame.f_code.co_qualname} ({shown}:{frame.f_lineno})"


def _event(event: simpy.Event | None, frames: list[FrameType]) -> str:
    """What a process waits for, with the node and the kind of work that its frames know of."""
    kind = _first(frames, "kind")
    about = f" ({kind})" if isinstance(kind, str) else ""
    node = next((each for frame in frames[::-1] if isinstance(each := _node(frame), str)), None)
    at = f" at {node}" if node else ""
    if isinstance(event, simpy.events.Condition):
        left = sum(not each.triggered for each in event._events)
        return f"{left} of {len(event._events)} events{about}"
    if isinstance(event, Put | Get):
        return f"a {type(event.resource).__name__}{at}{about}"
    return f"{'a process' if isinstance(event, simpy.Process) else 'an event'}{at}{about}"


def _node(frame: FrameType) -> Any:
    return getattr(frame.f_locals.get("self"), "node", None)


def _first(frames: list[FrameType], name: str) -> Any:
    return next((frame.f_locals[name] for frame in frames if name in frame.f_locals), None)
