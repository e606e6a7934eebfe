"""Processor sharing: all jobs are served at once, at a speed that changes with every arrival and departure.

The simulation is exact, with events only at arrivals and departures. Virtual time is the service that a job which was
present from the beginning would have received. All jobs receive the same service in the same time, so the virtual time
at which a job ends is known when it arrives.
"""

from __future__ import annotations

import simpy

from netsim.agenda import Agenda
from netsim.instants import End
from netsim.process import Process
from netsim.queueing.queue import Job, Stay


class Sharing:
    """Slots divided equally among the jobs that are present; a job uses one slot at most, and no job waits in line."""

    def __init__(self, env: simpy.Environment, slots: int) -> None:
        """Create a queue without jobs; `slots` is the number of slots."""
        self.env, self.slots = env, slots
        self.present = 0
        """Number of jobs that are served."""
        self._clock = 0.0  # virtual time in seconds
        self._since_s = env.now  # simulated time of the last update of the clock
        self._ends: Agenda[simpy.Event] = Agenda()  # in virtual time
        self._alarm: simpy.Event | None = None

    def serve(self, rank: int, job: Job) -> Process[Stay]:
        """Serve a job at once, together with all others; see `Queue.serve`. `rank` is ignored."""
        arrival_s, work_s = self.env.now, job.begin(job.nominal_s)
        interrupt: simpy.Interrupt | None = None
        done, end = self._enter(work_s)
        try:
            yield done
        except simpy.Interrupt as cause:
            interrupt = cause
        finally:
            missing_s = 0.0 if done.triggered else self._give_up(done, end)
        service_s = min(work_s - missing_s, self.env.now - arrival_s)
        return Stay(self.env.now - arrival_s - service_s, service_s, True, interrupt)

    def _enter(self, work_s: float) -> tuple[simpy.Event, float]:
        """Add a job; returns the event of its end, and the virtual time of its end."""
        self._update_clock()
        done, end = self.env.event(), self._clock + work_s
        self._ends.put(done, end)
        self.present += 1
        self._set_alarm()
        return done, end

    def _give_up(self, done: simpy.Event, end: float) -> float:
        """Remove a job before its end; returns the service that is missing, in seconds."""
        self._update_clock()
        missing_s = end - self._clock
        self._ends.drop(done)
        self.present -= 1
        self._set_alarm()
        return missing_s

    def _update_clock(self) -> None:
        """Advance virtual time to the present instant."""
        self._clock += (self.env.now - self._since_s) * self._speed
        self._since_s = self.env.now

    @property
    def _speed(self) -> float:
        """Service in seconds that each job receives in a second."""
        return min(1.0, self.slots / self.present) if self.present else 0.0

    def _set_alarm(self) -> None:
        """Set the alarm to the end of the next job; it replaces an earlier alarm."""
        if self.present:
            self._alarm = End(self.env, max(0.0, self._ends.next_s - self._clock) / self._speed)
            self._alarm.callbacks.append(self._ring)
        else:
            self._alarm, self._clock = None, 0.0  # restart, so that rounding errors do not grow with time

    def _ring(self, alarm: simpy.Event) -> None:
        if alarm is not self._alarm:
            return
        self._clock, self._since_s = self._ends.next_s, self.env.now  # its present value, without rounding
        while self._ends.next_s <= self._clock:
            self.present -= 1
            self._ends.pop().succeed()
        self._set_alarm()
