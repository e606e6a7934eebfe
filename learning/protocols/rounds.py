"""The users of a round, side by side or one after another, until the straggler policy ends it."""

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
S = TypeVar("S")

DROPPED = object()
"""In place of the result of a user that was interrupted."""


def gather(world: World, work: Mapping[User, Process[T]], share: float = 1) -> Process[dict[User, T]]:
    """Run one process for each user side by side; returns {user: result} of those that finish, in the order of `work`.

    Users that have not finished when the policy ends the round are interrupted, which releases their radios and
    processors. So are users whose device becomes unavailable; those that are unavailable at the start are dropped at
    once. If all are, the round begins when the first returns.

    Args:
        world: the world, with the policy.
        work: what each user does.
        share: the part of the policy's deadline, in (0, 1], by which this work must be done. A deadline is counted from
            the first time that users begin to work in a round, however often `gather` is called in it.
    """
    yield from _begin(world, work)
    processes = {user: world.env.process(_of_user(user, steps)) for user, steps in work.items()}
    yield _over(world, list(processes.values()), share)
    late = [process for process in processes.values() if process.is_alive]
    for process in late:
        process.interrupt("the round is over")
    if late:
        yield world.env.all_of(late)
    done: dict[User, Any] = {user: process.value for user, process in processes.items() if process.value is not DROPPED}
    world.report_participation(len(done), len(work))
    return done


def visit(world: World, work: Mapping[User, Process[T]]) -> Process[dict[User, T]]:
    """Run one process for each user, one after another; returns {user: result} of those that finish.

    Users that are unavailable, or become so, are dropped as in `gather`.
    """
    yield from _begin(world, work)
    needed = _needed(world, len(work))
    done: dict[User, T] = {}
    for user, steps in work.items():
        if len(done) == needed or world.env.now >= world.closes_s:
            break
        process = world.env.process(_of_user(user, steps))
        yield _by(world, process, world.closes_s)
        if process.is_alive:
            process.interrupt("the round is over")
            yield process
        result: Any = process.value
        if result is not DROPPED:
            done[user] = result
    world.report_participation(len(done), len(work))
    return done


def beside(world: World, users: Process[T], server: Process[S]) -> Process[tuple[T, S | None]]:
    """Run the users' part of a round and work of the server side by side; the round goes on when both are done.

    Work of the server that is not done at the policy's deadline is interrupted, and so is work on a server that becomes
    unavailable.

    Args:
        world: the world, with the policy.
        users: what users do, in which `gather` is called.
        server: what the server does meanwhile.

    Returns:
        What the users' part returns, and what the server's does; None if that was interrupted.
    """
    process = world.env.process(_until_interrupted(server))
    done = yield from users
    yield _by(world, process, world.closes_s)
    if process.is_alive:
        process.interrupt("the round is over")
        yield process
    result: Any = process.value
    return done, None if result is DROPPED else result


def _begin(world: World, users: Iterable[User]) -> Process[None]:
    """Wait until a user is present, all are gone for good, or the round's deadline passes; set it if need be."""
    nodes = [user.node for user in users]
    while all(node.away for node in nodes) and (coming := [node.back for node in nodes if not node.gone]):
        yield _by(world, world.env.any_of(coming), world.closes_s)
        if world.env.now >= world.closes_s:
            break
    world.closes_s = min(world.closes_s, world.env.now + world.policy.deadline_s)


def _over(world: World, processes: list[simpy.Process], share: float) -> simpy.Event:
    needed = _needed(world, len(processes))

    def enough_done(_: object, ended: int) -> bool:
        """Users whose device became unavailable have ended too, but do not count as done."""
        return ended == len(processes) or (
            ended >= needed and sum(not each.is_alive and each.value is not DROPPED for each in processes) >= needed
        )

    enough = simpy.events.Condition(world.env, enough_done, processes)
    rest_s = 0.0 if world.closes_s == inf else (1 - share) * world.policy.deadline_s
    return _by(world, enough, world.closes_s - rest_s)


def _by(world: World, event: simpy.Event, instant_s: float) -> simpy.Event:
    """The event or an instant in seconds, whichever comes first; what ends at that very instant is in time."""
    return event if instant_s == inf else event | world.instant(instant_s)


def _needed(world: World, asked: int) -> int:
    """How many of the users selected must finish; more may have been selected than are to take part."""
    return min(world.policy.needed(world.cohort_size), asked)


def _of_user(user: User, steps: Process[object]) -> Process[object]:
    return (yield from _until_interrupted(user.node.attend(steps)))


def _until_interrupted(steps: Process[object]) -> Process[object]:
    try:
        return (yield from steps)
    except simpy.Interrupt as interrupt:
        clear_frames(interrupt.__traceback__)  # releases values at once, not when cycles are collected
        return DROPPED
