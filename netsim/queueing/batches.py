"""Batches: jobs of one kind that arrive within a window are served as one, which reads their weights only once."""

from __future__ import annotations

import simpy

from netsim.instants import SERVE, After
from netsim.process import Process
from netsim.queueing.line import Line
from netsim.queueing.queue import Job, Stay
from netsim.sums import in_order


class Batches:
    """A waiting line of batches, first come, first served."""

    def __init__(self, env: simpy.Environment, slots: int, window_s: float, max_jobs: int | None) -> None:
        """Create an empty line.

        Args:
            env: the environment.
            slots: number of batches served at a time.
            window_s: seconds from the arrival of the first job of a batch until the batch is closed.
            max_jobs: number of jobs at which a batch is closed at once; None is no limit.
        """
        self.env, self.window_s, self.max_jobs = env, window_s, max_jobs
        self.present = 0
        """Number of jobs that wait or are served."""
        self._line = Line(env, slots)
        self._open: dict[str, _Batch] = {}  # by kind of job

    def serve(self, rank: int, job: Job) -> Process[Stay]:
        """Join the open batch of this kind, or open one, and stay until it is served; see `Queue.serve`.

        `rank` is ignored. The service that the job receives is its share of that of the batch.
        """
        arrival_s, interrupt = self.env.now, None
        batch = self._join(job)
        self.present += 1
        try:
            yield batch.done
        except simpy.Interrupt as cause:
            interrupt = cause
        finally:
            self.present -= 1
            if not batch.done.triggered:
                self._leave(batch, job)
        service_s = min(batch.received_s(job), self.env.now - arrival_s)
        return Stay(self.env.now - arrival_s - service_s, service_s, batch.begun_s is not None, interrupt)

    def _join(self, job: Job) -> _Batch:
        batch = self._open.get(job.kind)
        if batch is None:
            batch = self._open[job.kind] = _Batch(self.env, job.kind)
            batch.process = self.env.process(self._run(batch))
        batch.jobs.append(job)
        if len(batch.jobs) == self.max_jobs:
            del self._open[job.kind]
            batch.full.succeed()
        return batch

    def _leave(self, batch: _Batch, job: Job) -> None:
        """Take a job out of its batch; a batch without jobs is given up."""
        batch.jobs.remove(job)
        if not batch.jobs:
            self._close(batch)
            batch.process.interrupt()

    def _run(self, batch: _Batch) -> Process[None]:
        try:
            yield batch.full | After(self.env, self.env.now + self.window_s, SERVE)
        except simpy.Interrupt:
            return
        self._close(batch)
        stay = yield from self._line.serve(0, batch)
        if stay.interrupt is None:
            batch.done.succeed()

    def _close(self, batch: _Batch) -> None:
        """Let no further job join."""
        if self._open.get(batch.kind) is batch:
            del self._open[batch.kind]


class _Batch(Job):
    """Jobs that are served as one job. Those that are given up before it begins leave it smaller."""

    process: simpy.Process
    """The process by which it is served."""

    def __init__(self, env: simpy.Environment, kind: str) -> None:
        super().__init__(kind, 0.0)
        self.env = env
        self.jobs: list[Job] = []
        self.full, self.done = env.event(), env.event()
        self.begun_s: float | None = None
        """Simulated time in seconds at which service began; None before."""
        self._planned_s: dict[Job, float] = {}  # share of each job in the service time

    @property
    def nominal_s(self) -> float:
        reads = {name: read_s for job in self.jobs for name, read_s in job.read_s.items()}
        return max(in_order(job.work_s for job in self.jobs), in_order(reads.values()))

    def begin(self, nominal_s: float) -> float:
        """Begin service of all jobs; each has a share in proportion to its service time alone."""
        self.begun_s = self.env.now
        alone_s = in_order(job.nominal_s for job in self.jobs)
        self._planned_s = {job: job.begin(nominal_s * job.nominal_s / alone_s) for job in self.jobs}
        return self._service_s

    def received_s(self, job: Job) -> float:
        """Service that one of its jobs has received until now, in seconds of one slot."""
        if self.begun_s is None:
            return 0.0
        done = 1.0 if self.done.triggered else (self.env.now - self.begun_s) / self._service_s
        return done * self._planned_s[job]

    @property
    def _service_s(self) -> float:
        return in_order(self._planned_s.values())
