"""The order of simultaneous events, and a tolerance within which instants count as simultaneous.

The order is: jobs and messages end; timeouts and deadlines expire; devices go away, return and move; requests arrive;
slots are assigned by rank; bands are divided again. So a job that ends at its deadline, or when its device goes away,
is completed, and a job that leaves a queue makes room before another arrives.

Sums of floating-point numbers in different orders differ in their last bits. Therefore instants whose relative
difference is at most `ROUNDING` count as one: before an event with a priority happens, all ends within this tolerance
after it are moved to its instant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify

import simpy
from simpy.events import EventPriority

ROUNDING = 1e-12
"""Relative tolerance of simultaneous instants: ten thousand roundings of a double, or 1 ns after 17 minutes."""

GIVE_UP, CHANGE, ARRIVE, SERVE = (EventPriority(number) for number in range(2, 6))
"""Priorities of simultaneous events, in the order above, after the two of SimPy."""


class End(simpy.Timeout):
    """The end of a job or message after a delay in seconds. It may be moved to an earlier instant within `ROUNDING`."""


class After(simpy.Event):
    """An event at an instant (or now, if that is past), after all simultaneous events of earlier priority."""

    def __init__(self, env: simpy.Environment, instant_s: float, priority: EventPriority) -> None:
        """Schedule the event at the simulated time `instant_s` in seconds, with one of the priorities above."""
        super().__init__(env)
        groups = _groups(env)
        key = max(env.now, instant_s), priority
        if key not in groups:
            groups[key] = _Group(env, *key)
        groups[key].waiting.append(self)


class _Group(simpy.Event):
    """All `After` events of one instant and priority, which happen one by one in the order of their creation.

    The search for ends within the tolerance is done once for the group.
    """

    def __init__(self, env: simpy.Environment, instant_s: float, priority: EventPriority) -> None:
        super().__init__(env)
        self._ok, self._value = True, None  # as in simpy.Timeout; `succeed` has no priority
        self.key = instant_s, priority
        self.waiting: deque[After] = deque()
        self._schedule(self._start, instant_s - env.now)

    def _schedule(self, step: Callable[[simpy.Event], None], delay_s: float = 0.0) -> None:
        self.callbacks = [step]
        self.env.schedule(self, self.key[1], delay_s)

    def _start(self, _: simpy.Event) -> None:
        if _bring_forward(self.env, self.key[1]):
            self._schedule(self._next)
        else:
            self._next(self)

    def _next(self, _: simpy.Event) -> None:
        self.waiting.popleft().succeed()
        if self.waiting:
            self._schedule(self._next)
        else:
            del _groups(self.env)[self.key]


def _groups(env: simpy.Environment) -> dict[tuple[float, EventPriority], _Group]:
    """The groups that are still to happen, kept in the environment so that they are freed with it."""
    groups: dict[tuple[float, EventPriority], _Group] = vars(env).setdefault("groups", {})
    return groups


def reached(instant_s: float, now_s: float) -> bool:
    """Return True if an instant is past or, within `ROUNDING`, now; both in seconds."""
    return instant_s <= now_s * (1 + ROUNDING)


def _bring_forward(env: simpy.Environment, priority: EventPriority) -> bool:
    """Move events before `priority` that are due within the tolerance to the present instant; True if there are any."""
    queue, found = env._queue, []  # SimPy has no public access: a heap of (instant, priority, number, event)
    places = [0]
    while places:
        place = places.pop()
        if place < len(queue) and reached(queue[place][0], env.now):
            places += (2 * place + 1, 2 * place + 2)
            due_s, rank, _, event = queue[place]
            if due_s > env.now and rank < priority and isinstance(event, End | _Group):
                found.append(place)
    for place in found:
        queue[place] = (env.now, *queue[place][1:])
    if found:
        heapify(queue)
    return bool(found)
