"""Processes: generators that take simulated time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import simpy

T = TypeVar("T")

Process = Generator[simpy.Event, Any, T]
"""A generator that takes simulated time and returns a T: `result = yield from process`.

An interrupt releases all resources that it holds. Values sent into it by events have no type in SimPy.
"""


def together(env: simpy.Environment, works: Sequence[Process[T]]) -> Process[list[T]]:
    """Run processes concurrently; returns their results in order. All are interrupted if this process is."""
    processes = [env.process(_until_interrupted(work)) for work in works]
    try:
        done = yield env.all_of(processes)
    except simpy.Interrupt as interrupt:
        running = [process for process in processes if process.is_alive]
        for process in running:
            process.interrupt(interrupt.cause)
        yield env.all_of(running)  # they end at this instant
        raise
    return [done[process] for process in processes]


def _until_interrupted(work: Process[T]) -> Process[T | None]:
    """Run a process; returns None if it is interrupted."""
    try:
        return (yield from work)
    except simpy.Interrupt:
        return None  # the process that started it was interrupted, and passes that on
