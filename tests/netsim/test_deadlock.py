"""A stuck world names who waits for what."""

import re

import simpy
from worlds import Process, world

from netsim import deadlock
from netsim.queueing import Fifo


def test_a_stuck_world_names_its_processes() -> None:
    cell = world()
    first, second = cell.network.users
    never = cell.env.event()

    def hold() -> Process:
        yield from second.uplink.lock.acquire()
        yield never

    def gather() -> Process:
        yield cell.env.all_of([cell.env.process(hold()), cell.env.timeout(1.0)])

    keep = [cell.env.process(gather())]
    cell.env.run(0.5)
    keep.append(cell.env.process(second.send(cell.network.server, 1e3, "model")))
    cell.env.run()
    sentence = deadlock.describe(cell.env)
    assert sentence.startswith("nothing is going to happen any more, and the scheme has not ended: ")
    assert "\n" not in sentence
    assert re.search(r"gather waits in \S*gather \(tests/netsim/test_deadlock.py:\d+\) for 1 of 2 events", sentence)
    assert re.search(r"hold waits in \S*hold \(tests/netsim/test_deadlock.py:\d+\) for an event", sentence)
    assert re.search(
        r"waits in AirInterface.transfer \(netsim/transfer.py:\d+\) for a Semaphore at station0 \(model\)", sentence
    )
    assert len(keep) == 2
    assert first.number == 0


def test_a_user_is_named_and_a_processor_too() -> None:
    cell = world()
    user = cell.network.users[1]
    user.processor.queue = Fifo().queue(cell.env, 1)

    def work(user: object) -> Process:
        yield from cell.network.users[1].compute(1e9, "training")
        yield cell.env.event()

    waiting = [cell.env.process(work(user)) for _ in range(deadlock.MAX_LISTED + 2)]
    cell.env.run(1.5)
    sentence = deadlock.describe(cell.env)
    assert re.search(
        r"user 1 waits in Line.serve \(netsim/queueing/line.py:\d+\) for a \w+ at user1 \(training\)", sentence
    )
    assert sentence.endswith("; and 2 more")
    assert len(waiting) == deadlock.MAX_LISTED + 2


def test_another_world_is_not_told_of() -> None:
    other = simpy.Environment()

    def wait() -> Process:
        yield other.event()

    keep = other.process(wait())
    assert deadlock.describe(simpy.Environment()).endswith("ended: ")
    assert keep.is_alive
