"""Exogenous events, such as outages: they happen by themselves, and end with the work that they can affect."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from math import inf

import simpy

from netsim.instants import CHANGE, After, reached

Steps = Iterator[float]
"""A coroutine: it yields, in order, the instants in seconds at which it wants to be resumed."""


class ExogenousEvents:
    """An agenda of exogenous events beside the simulation's own queue of events.

    It stops when the simulation's queue is empty and no process waits for an exogenous event, so that a world in which
    devices come and go for ever still comes to an end, or is found to be deadlocked.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.awaited: list[Callable[[], bool]] = []
        """Functions that tell whether a process waits for an exogenous event."""
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []  # a heap
        self._order = count()
        self._alarm_s = inf

    def at(self, instant_s: float, act: Callable[[], None]) -> None:
        """Do something at an instant that is not past."""
        heapq.heappush(self._agenda, (instant_s, next(self._order), act))
        self._set_alarm()

    def follow(self, steps: Steps) -> None:
        """Take steps at the instants that they name, the first of them now where it is due."""
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
            return  # an earlier one was set after it
        while self._agenda and reached(self._agenda[0][0], self.env.now):
            heapq.heappop(self._agenda)[2]()
        self._alarm_s = inf
        if self.env.peek() < inf or any(awaited() for awaited in self.awaited):
            self._set_alarm()
