"""What happens first of all that falls on one instant, and which instants count as one.

In this order: what ends (jobs, messages); who gives up (timeouts, deadlines); devices go away, return and move;
requests arrive; slots are given to who waits by rank; bands are divided anew. So a job that is done at its deadline, or
when its device goes, is done, and who leaves makes room before who comes.

Sums of floating-point numbers in another order differ in their last bits, so instants count as one that differ by no
more than `ROUNDING` of themselves: who decides at an instant lets end at that instant what would end so soon after it.
"""

from __future__ import annotations

from heapq import heapify

import simpy
from simpy.events import EventPriority

ROUNDING = 1e-12
"""Part of the clock within which instants are one: ten thousand roundings of a double, 1 ns after 17 minutes."""

GIVE_UP, CHANGE, ARRIVE, SERVE = (EventPriority(number) for number in range(2, 6))
"""Priorities after simpy's own two, in the order above."""


class End(simpy.Timeout):
    """Something ends after a delay; it may be an instant earlier that is the same but for rounding."""


class After(simpy.Event):
    """Happens at an instant, or now if that is past, when all that comes before it by `priority` has happened."""

    def __init__(self, env: simpy.Environment, instant_s: float, priority: EventPriority) -> None:
        super().__init__(env)
        _Turn(self, max(0.0, instant_s - env.now), priority)


class _Turn(simpy.Event):
    """The turn of an `After`."""

    def __init__(self, after: After, delay_s: float, priority: EventPriority) -> None:
        super().__init__(after.env)
        self._ok, self._value = True, None  # as simpy's own Timeout does; `succeed` knows no priorities
        self._after, self._priority = after, priority
        self.callbacks = [self._come]
        after.env.schedule(self, priority, delay_s)

    def _come(self, _: simpy.Event) -> None:
        if _bring_forward(self.env, self._priority):
            self.callbacks = [self._happen]
            self.env.schedule(self, self._priority)
        else:
            self._after.succeed()

    def _happen(self, _: simpy.Event) -> None:
        self._after.succeed()


def reached(instant_s: float, now_s: float) -> bool:
    """Whether an instant is past or, but for rounding, now."""
    return instant_s <= now_s * (1 + ROUNDING)


def _bring_forward(env: simpy.Environment, priority: EventPriority) -> bool:
    """Let what comes before `priority` and is due within rounding happen now; whether there is any."""
    queue, found = env._queue, []  # simpy has no call for this: a heap of (instant, priority, number, event)
    places = [0]
    while places:
        place = places.pop()
        if place < len(queue) and reached(queue[place][0], env.now):
            places += (2 * place + 1, 2 * place + 2)
            due_s, rank, _, event = queue[place]
            if due_s > env.now and rank < priority and isinstance(event, End | _Turn):
                found.append(place)
    for place in found:
        queue[place] = (env.now, *queue[place][1:])
    if found:
        heapify(queue)
    return bool(found)
