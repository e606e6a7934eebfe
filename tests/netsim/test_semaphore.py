"""Places that processes take in turns, also where one is interrupted at the instant of its turn."""

import simpy

from netsim.process import Process
from netsim.semaphore import Semaphore


def test_a_free_place_is_taken_without_an_event() -> None:
    env = simpy.Environment()
    semaphore = Semaphore(env, 2)
    assert list(semaphore.acquire()) == list(semaphore.acquire()) == []
    assert env.peek() == float("inf")
    assert len(list(semaphore.acquire())) == 1  # the third waits


def test_a_turn_that_is_interrupted_at_its_instant_goes_to_the_next() -> None:
    env, order = simpy.Environment(), []
    semaphore = Semaphore(env, 1)

    def hold() -> Process[None]:
        yield from semaphore.acquire()
        yield env.timeout(1.0)
        semaphore.release()

    def use(name: str) -> Process[None]:
        try:
            yield from semaphore.acquire()
        except simpy.Interrupt:
            order.append(f"{name} is interrupted at {env.now}")
            return
        order.append(f"{name} at {env.now}")
        semaphore.release()

    def interrupt(process: simpy.Process) -> Process[None]:
        yield env.timeout(1.0)
        process.interrupt()

    env.process(hold())
    second = env.process(use("second"))
    env.process(use("third"))
    env.process(interrupt(second))
    env.run()
    assert order == ["second is interrupted at 1.0", "third at 1.0"]
    assert semaphore.count == 0
