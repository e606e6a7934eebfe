"""A waiting line before one or several slots: a job that has a slot keeps it until it is done."""

from __future__ import annotations

import simpy

from netsim.instants import End
from netsim.process import Process
from netsim.queueing.queue import Job, Stay
from netsim.semaphore import Ranked, Semaphore


class Line:
    """A waiting line before slots of equal speed. Jobs that arrive at one instant are in the order of their calls."""

    def __init__(self, env: simpy.Environment, slots: int, *, ranked: bool = False) -> None:
        """Create an empty line.

        Args:
            env: the environment.
            slots: number of jobs served at a time.
            ranked: True serves the lowest rank first, equal ranks in order of arrival; False ignores ranks.
        """
        self.env = env
        self._slots = (Ranked if ranked else Semaphore)(env, slots)

    @property
    def present(self) -> int:
        """Number of jobs that wait or are served."""
        return self._slots.count + len(self._slots.queue)

    def serve(self, rank: int, job: Job) -> Process[Stay]:
        """Wait for a slot, then hold it for the service time of the job; see `Queue.serve`."""
        arrival_s = self.env.now
        begun_s: float | None = None
        interrupt: simpy.Interrupt | None = None
        try:
            yield from self._slots.acquire(rank)
            begun_s = self.env.now
            yield End(self.env, job.begin(job.nominal_s))
        except simpy.Interrupt as cause:
            interrupt = cause
        if begun_s is not None:
            self._slots.release()
        end_s = self.env.now
        served_from_s = end_s if begun_s is None else begun_s
        return Stay(served_from_s - arrival_s, end_s - served_from_s, begun_s is not None, interrupt)
