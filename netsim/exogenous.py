"""Exogenous events, such as outages: they do not depend on work, and stop when there is no work left to affect."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from math import inf

import simpy

from netsim.instants import CHANGE, After, reached

Steps = Iterator[float]
"""A coroutine that yields, in order, the simulated times in seconds at which it is to be resumed."""


class ExogenousEvents:
    """An agenda of exogenous events beside the simulation's own queue of events.

    It stops when the simulation's queue is empty and no process waits for an exogenous event. So a run ends, or a
    deadlock is found, even if devices would leave and return without end.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.awaited: list[Callable[[], bool]] = []
        """Functions that return True while a process waits for an exogenous event."""
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []  # a heap
        self._order = count()
        self._alarm_s = inf

    def at(self, instant_s: float, act: Callable[[], None]) -> None:
        """Schedule `act`, to be called at the simulated time `instant_s` in seconds, which must not be past."""
        heapq.heappush(self._agenda, (instant_s, next(self._order), act))
        self._set_alarm()

    def follow(self, steps: Steps) -> None:
        """Resume the coroutine `steps` at the instants that it yields; steps that are due are taken at once."""
        for instant_s in steps:
            if instant_s > self.env.now:
                if instant_s < inf:
                    self.at(instant_s, lambda: self.follow(steps))
                return

    def _set_alarm(self) -> None:
        if self._agenda and self._agenda[0][0] < self._alarm_s:
            self._alarm_s = self._agenda[0][0]
            After(self.env, self._alarm_s, CHANGE).callbacks.append(self._ring)

    def _ring(self, _: simpy.Event) -> None:
        if not reached(self._alarm_s, self.env.now):
            return  # an earlier alarm was set later
        while self._agenda and reached(self._agenda[0][0], self.env.now):
            heapq.heappop(self._agenda)[2]()
        self._alarm_s = inf
        if self.env.peek() < inf or any(awaited() for awaited in self.awaited):
            self._set_alarm()
