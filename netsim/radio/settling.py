"""Events of a band: alarms, and what is settled at an instant after everything else that happens at it."""

from __future__ import annotations

from collections.abc import Callable

import simpy
from simpy.events import EventPriority

LAST, VERY_LAST = EventPriority(9), EventPriority(10)
"""Priorities after everything else of an instant: bands are divided first, then interference is settled."""


class Settling(simpy.Event):
    """An event that happens now, after everything else of this instant, and then calls `settle`."""

    def __init__(
        self, env: simpy.Environment, settle: Callable[[simpy.Event], None], priority: EventPriority = LAST
    ) -> None:
        super().__init__(env)
        self._ok, self._value = True, None  # as simpy's own Timeout does; `succeed` knows no priorities
        self.callbacks = [settle]
        env.schedule(self, priority)


class Alarm(simpy.Timeout):
    """A timeout that calls `ring` after `delay_s` seconds."""

    def __init__(self, env: simpy.Environment, delay_s: float, ring: Callable[[simpy.Event], None]) -> None:
        super().__init__(env, delay_s)
        self.callbacks = [ring]
