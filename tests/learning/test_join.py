"""Processes side by side: results in order, the end of the last, and interrupts that reach all of them."""

from typing import Any

import pytest
import simpy

from learning.ports import Process
from learning.protocols.join import join


def timed(env: simpy.Environment, duration_s: float, log: list[Any], fails: bool = False) -> Process[float]:
    try:
        yield env.timeout(duration_s)
    except simpy.Interrupt as interrupt:
        log.append((duration_s, env.now, interrupt.cause))
        raise
    if fails:
        raise simpy.Interrupt("gone")
    return duration_s


def test_results_are_in_the_order_of_the_works_and_without_works_nothing_passes() -> None:
    env = simpy.Environment()
    assert env.run(env.process(join(env, [timed(env, s, []) for s in (3.0, 1.0, 2.0)]))) == [3.0, 1.0, 2.0]
    assert env.now == 3.0
    assert env.run(env.process(join(env, []))) == []
    assert env.now == 3.0


def test_when_the_caller_is_interrupted_all_are() -> None:
    env, log = simpy.Environment(), list[Any]()
    process = env.process(join(env, [timed(env, s, log) for s in (3.0, 1.0, 2.0)]))

    def interrupter() -> Process[None]:
        yield env.timeout(1.5)
        process.interrupt("late")

    env.process(interrupter())
    with pytest.raises(simpy.Interrupt, match="late"):
        env.run(process)
    assert log == [(3.0, 1.5, "late"), (2.0, 1.5, "late")]


def test_when_one_of_them_is_lost_the_others_are_interrupted() -> None:
    env, log = simpy.Environment(), list[Any]()
    works = [timed(env, 3.0, log), timed(env, 1.0, log, fails=True), timed(env, 2.0, log)]
    with pytest.raises(simpy.Interrupt, match="gone"):
        env.run(env.process(join(env, works)))
    assert (env.now, log) == (1.0, [(3.0, 1.0, "gone"), (2.0, 1.0, "gone")])
