"""Processes that run concurrently and join when the last is done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import simpy

from learning.ports import Process

T = TypeVar("T")


def join(env: simpy.Environment, works: Iterable[Process[T]]) -> Process[list[T]]:
    """Run processes concurrently; return their results, in the order of `works`, when the last is done.

    If the caller or one of the processes is interrupted, as when a device goes away, all that still run are interrupted
    too and simpy.Interrupt is raised.
    """
    works = list(works)
    if len(works) == 1:
        return [(yield from works[0])]
    processes = [env.process(_until_interrupted(work)) for work in works]
    try:
        yield simpy.events.Condition(env, _done_or_lost, processes)
        if (lost := _lost(processes)) is not None:
            raise lost
    except simpy.Interrupt as interrupt:
        running = [process for process in processes if process.is_alive]
        for process in running:
            process.interrupt(interrupt.cause)
        yield env.all_of(running)  # at this very instant
        raise
    results: list[Any] = [process.value for process in processes]
    return results


def join_until(env: simpy.Environment, works: Iterable[Process[T]], until: simpy.Event) -> Process[list[T | None]]:
    """Run processes concurrently until all are done or an event happens; those not done by then are interrupted.

    Returns their results in the order of `works`; None for those that were interrupted. Other interrupts as in `join`.
    """
    late = object()

    def within(work: Process[T]) -> Process[T | None]:
        process = env.process(_until_interrupted(work))
        try:
            yield process | until
        except simpy.Interrupt as interrupt:
            if process.is_alive:
                process.interrupt(interrupt.cause)
            yield process
            raise
        if process.is_alive:
            process.interrupt(late)
        result: T | simpy.Interrupt = yield process
        if not isinstance(result, simpy.Interrupt):
            return result
        if result.cause is late:
            return None
        raise result

    return (yield from join(env, [within(work) for work in works]))


def _until_interrupted(work: Process[T]) -> Process[T | simpy.Interrupt]:
    try:
        return (yield from work)
    except simpy.Interrupt as interrupt:
        return interrupt


def _lost(processes: Iterable[simpy.Event]) -> simpy.Interrupt | None:
    ended = (process.value for process in processes if process.triggered)
    return next((value for value in ended if isinstance(value, simpy.Interrupt)), None)


def _done_or_lost(processes: Iterable[simpy.Event], done: int) -> bool:
    processes = list(processes)
    return done == len(processes) or _lost(processes) is not None
