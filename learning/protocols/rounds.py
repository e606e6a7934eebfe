"""Who takes part in a round: all at once, or one after another, until the straggler policy says that it is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from traceback import clear_frames
from typing import Any, TypeVar

import simpy

from learning.parties import User
from learning.ports import Process
from learning.world import World

T = TypeVar("T")

LATE = object()
"""In place of the result of a user that was interrupted."""


def gather(world: World, work: Mapping[User, Process[T]], share: float = 1) -> Process[dict[User, T]]:
    """Run one generator per user side by side; return {user: result} of those that finish in time, in `work`'s order.

    Whoever is not done when the policy ends the round is interrupted, which frees its radio and processor; so is
    whoever goes away, and who is away at the start is dropped at once. With nobody there, it begins when one returns.
    A deadline is counted from the first time in a round that users begin to work, however often they do; `share` of it
    may pass before this work is over.
    """
    yield from _begin(world, work)
    processes = {user: world.env.process(_until_interrupted(user, steps)) for user, steps in work.items()}
    yield _over(world, list(processes.values()), share)
    late = [process for process in processes.values() if process.is_alive]
    for process in late:
        process.interrupt("the round is over")
    if late:
        yield world.env.all_of(late)
    done: dict[User, Any] = {user: process.value for user, process in processes.items() if process.value is not LATE}
    world.took_part(len(done), len(work))
    return done


def visit(world: World, work: Mapping[User, Process[T]]) -> Process[dict[User, T]]:
    """Run one generator per user in turn; return {user: result} of those that came to their end.

    Users that are away, or go away, are dropped as in `gather`.
    """
    yield from _begin(world, work)
    needed = _needed(world, len(work))
    done: dict[User, T] = {}
    for user, steps in work.items():
        if len(done) == needed or world.env.now >= world.closes_s:
            break
        process = world.env.process(_until_interrupted(user, steps))
        yield _by(world, process, world.closes_s)
        if process.is_alive:
            process.interrupt("the round is over")
            yield process
        result: Any = process.value
        if result is not LATE:
            done[user] = result
    world.took_part(len(done), len(work))
    return done


def _begin(world: World, users: Iterable[User]) -> Process[None]:
    """Wait until somebody is there, all are gone for ever, or a deadline that has been set has passed; or set it."""
    nodes = [user.node for user in users]
    while all(node.away for node in nodes) and (coming := [node.back for node in nodes if not node.gone]):
        yield _by(world, world.env.any_of(coming), world.closes_s)
        if world.env.now >= world.closes_s:
            break
    world.closes_s = min(world.closes_s, world.env.now + world.policy.deadline_s)


def _over(world: World, processes: list[simpy.Process], share: float) -> simpy.Event:
    needed = _needed(world, len(processes))

    def enough_done(_: object, ended: int) -> bool:
        """Who went away has ended, but does not count."""
        return ended == len(processes) or (
            ended >= needed and sum(not each.is_alive and each.value is not LATE for each in processes) >= needed
        )

    enough = simpy.events.Condition(world.env, enough_done, processes)
    rest_s = 0.0 if world.closes_s == inf else (1 - share) * world.policy.deadline_s
    return _by(world, enough, world.closes_s - rest_s)


def _by(world: World, event: simpy.Event, instant_s: float) -> simpy.Event:
    """The event, or an instant, whichever comes first; what ends in that instant is in time."""
    return event if instant_s == inf else event | world.instant(instant_s)


def _needed(world: World, asked: int) -> int:
    """How many of those that were asked must come to their end; more may have been asked than are wanted."""
    return min(world.policy.needed(world.wanted), asked)


def _until_interrupted(user: User, steps: Process[object]) -> Process[object]:
    try:
        return (yield from user.node.attend(steps))
    except simpy.Interrupt as interrupt:
        clear_frames(interrupt.__traceback__)  # lets go of values at once, not when cycles happen to be collected
        return LATE
