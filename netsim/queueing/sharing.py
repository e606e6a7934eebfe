"""Processor sharing: all jobs are served at once, at speeds that change whenever one comes or goes.

Exact, with events at arrivals and departures alone: all jobs get the same service in the same time, so with the service
that a job would have got which had been there all along as a clock (virtual time), each job ends at a reading of that
clock which is known when it comes.
"""

from __future__ import annotations

from collections.abc import Callable

import simpy

from netsim.agenda import Agenda
from netsim.instants import End
from netsim.process import Process
from netsim.queueing.queue import Stay


class Sharing:
    """Slots divided equally among the jobs that are there; a job uses one slot at most, and none waits in line."""

    def __init__(self, env: simpy.Environment, slots: int) -> None:
        self.env, self.slots = env, slots
        self.present = 0
        self._clock = 0.0  # virtual time
        self._since_s = env.now  # when the clock was last read
        self._ends: Agenda[simpy.Event] = Agenda()  # in virtual time
        self._alarm: simpy.Event | None = None

    def serve(self, rank: int, begin: Callable[[], float]) -> Process[Stay]:
        """Be served at once, together with all others; `rank` means nothing here."""
        asked_s, work_s = self.env.now, begin()
        interrupt: simpy.Interrupt | None = None
        done, end = self._enter(work_s)
        try:
            yield done
        except simpy.Interrupt as cause:
            interrupt = cause
        finally:
            missing_s = 0.0 if done.triggered else self._give_up(done, end)
        service_s = min(work_s - missing_s, self.env.now - asked_s)
        return Stay(self.env.now - asked_s - service_s, service_s, True, interrupt)

    def _enter(self, work_s: float) -> tuple[simpy.Event, float]:
        """An event that happens when the job is done, and what the clock reads then."""
        self._read()
        done, end = self.env.event(), self._clock + work_s
        self._ends.put(done, end)
        self.present += 1
        self._set_alarm()
        return done, end

    def _give_up(self, done: simpy.Event, end: float) -> float:
        """Leave before the end; returns the service that is missing."""
        self._read()
        missing_s = end - self._clock
        self._ends.drop(done)
        self.present -= 1
        self._set_alarm()
        return missing_s

    def _read(self) -> None:
        """Bring the clock up to date."""
        self._clock += (self.env.now - self._since_s) * self._speed
        self._since_s = self.env.now

    @property
    def _speed(self) -> float:
        """Service that each job gets in a second."""
        return min(1.0, self.slots / self.present) if self.present else 0.0

    def _set_alarm(self) -> None:
        """Ring when the next job is done; an alarm that was set before means nothing any more."""
        if self.present:
            self._alarm = End(self.env, max(0.0, self._ends.next_s - self._clock) / self._speed)
            self._alarm.callbacks.append(self._ring)
        else:
            self._alarm, self._clock = None, 0.0  # begin afresh, so that rounding does not grow with time

    def _ring(self, alarm: simpy.Event) -> None:
        if alarm is not self._alarm:
            return
        self._clock, self._since_s = self._ends.next_s, self.env.now  # what it reads now, without rounding
        while self._ends.next_s <= self._clock:
            self.present -= 1
            self._ends.pop().succeed()
        self._set_alarm()
