"""A waiting line before one or several slots: a job that has a slot keeps it until it is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import simpy

from netsim.instants import SERVE, After, End
from netsim.process import Process
from netsim.queueing.queue import Stay


class Line:
    """Slots of equal speed. Without ranks whoever came first goes first; with ranks the lowest, and then the first.

    Of those that come at one instant, the one that is asked for first came first.
    """

    def __init__(self, env: simpy.Environment, slots: int, *, ranked: bool = False) -> None:
        self.env = env
        self._slots = Ranked(env, slots) if ranked else simpy.Resource(env, slots)

    @property
    def present(self) -> int:
        """Jobs that wait or are served."""
        return self._slots.count + len(self._slots.queue)

    def serve(self, rank: int, begin: Callable[[], float]) -> Process[Stay]:
        """Wait for a slot, then hold it."""
        asked_s = self.env.now
        begun_s: float | None = None
        interrupt: simpy.Interrupt | None = None
        with self._request(rank) as slot:
            try:
                yield slot
                begun_s = self.env.now
                yield End(self.env, begin())
            except simpy.Interrupt as cause:
                interrupt = cause
        end_s = self.env.now
        served_from_s = end_s if begun_s is None else begun_s
        return Stay(served_from_s - asked_s, end_s - served_from_s, begun_s is not None, interrupt)

    def _request(self, rank: int) -> simpy.resources.resource.Request:
        if isinstance(self._slots, Ranked):
            return self._slots.request(rank)
        return self._slots.request()


class Ranked(simpy.PriorityResource):
    """Slots go to the lowest ranks of all that are there when everybody who comes in an instant has come."""

    _giving = False

    def _trigger_put(self, get_event: Any) -> None:
        if self.put_queue and not self._giving:
            self._giving = True
            After(self._env, self._env.now, SERVE).callbacks.append(self._give)

    def _give(self, _: simpy.Event) -> None:
        self._giving = False
        super()._trigger_put(None)
