"""What happens first of all that falls on one instant, and which instants count as one.

In this order: what ends (jobs, messages); who gives up (timeouts, deadlines); devices go away, return and move;
requests arrive; slots are given to who waits by rank; bands are divided anew. So a job that is done at its deadline, or
when its device goes, is done, and who leaves makes room before who comes.

Sums of floating-point numbers in another order differ in their last bits, so instants count as one that differ by no
more than `ROUNDING` of themselves: who decides at an instant lets end at that instant what would end so soon after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
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
        turns = _turns(env)
        place = max(env.now, instant_s), priority
        if place not in turns:
            turns[place] = _Turn(env, *place)
        turns[place].waiting.append(self)


class _Turn(simpy.Event):
    """The turn of all that wait for one instant and priority, one after another in the order in which they came.

    It looks only once for what ends within rounding, however many wait.
    """

    def __init__(self, env: simpy.Environment, instant_s: float, priority: EventPriority) -> None:
        super().__init__(env)
        self._ok, self._value = True, None  # as simpy's own Timeout does; `succeed` knows no priorities
        self.place = instant_s, priority
        self.waiting: deque[After] = deque()
        self._come(self._look, instant_s - env.now)

    def _come(self, what: Callable[[simpy.Event], None], delay_s: float = 0.0) -> None:
        self.callbacks = [what]
        self.env.schedule(self, self.place[1], delay_s)

    def _look(self, _: simpy.Event) -> None:
        if _bring_forward(self.env, self.place[1]):
            self._come(self._next)
        else:
            self._next(self)

    def _next(self, _: simpy.Event) -> None:
        self.waiting.popleft().succeed()
        if self.waiting:
            self._come(self._next)
        else:
            del _turns(self.env)[self.place]


def _turns(env: simpy.Environment) -> dict[tuple[float, EventPriority], _Turn]:
    """Turns to come. They are kept in the environment, so that they end with it."""
    turns: dict[tuple[float, EventPriority], _Turn] = vars(env).setdefault("turns", {})
    return turns


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
