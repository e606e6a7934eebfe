"""Processors: a queue before one or several slots of equal speed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

import simpy

from netsim.energy import ComputeEnergy, Meter
from netsim.instants import ARRIVE, After
from netsim.journal import Journal
from netsim.process import Process
from netsim.queueing import NO_WEIGHTS, Discipline, Fifo, Job, QueueFull, Stay
from netsim.slowdown import Pace
from netsim.sums import in_order
from netsim.tables import ComputationRow


def nominal(round_number: int) -> Pace:
    """Return the pace of a processor without slowdown: the factor 1."""
    return lambda start_s, nominal_s: 1.0


class Processor:
    """A processor: a queue of jobs for one or several slots of equal speed."""

    def __init__(
        self,
        env: simpy.Environment,
        journal: Journal,
        node: str,
        node_kind: str,
        flops_per_s: float,
        *,
        memory_bandwidth_bytes_per_s: float | None = None,
        slots: int = 1,
        discipline: Discipline | None = None,
        capacity: int | None = None,
        slowdown: Callable[[int], Pace] = nominal,
        worked: Callable[[float, float], None] | None = None,
        energy: ComputeEnergy | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Create an idle processor.

        Args:
            env: the environment.
            journal: receives a row of `computations` for each job.
            node: name of the node in the tables.
            node_kind: user or server.
            flops_per_s: nominal speed of a slot in FLOP/s.
            memory_bandwidth_bytes_per_s: rate in byte/s at which a slot reads weights from memory; None takes no time.
            slots: number of jobs served at a time.
            discipline: queueing discipline; None is first come, first served.
            capacity: maximum number of jobs, waiting or in service, for refusable jobs; None is no limit.
            slowdown: returns the pace of the next job in a round with a given number.
            worked: called with start and end (seconds) of each job on the processor; None is no call.
            energy: energy model of the node; None leaves the energies of jobs null.
            meter: energy meter of the device; None is none.
        """
        self.env, self.journal = env, journal
        self.node, self.node_kind = node, node_kind
        self.flops_per_s, self.slowdown, self.energy, self.meter = flops_per_s, slowdown, energy, meter
        self.memory_bandwidth_bytes_per_s, self.worked = memory_bandwidth_bytes_per_s, worked
        self.discipline, self.capacity = discipline or Fifo(), capacity
        self.slots, self.queue = slots, self.discipline.queue(env, slots)
        self._present: dict[_Job, None] = {}  # an ordered set of the jobs that wait or are served

    def compute(
        self,
        flops: float,
        kind: str,
        memory_bytes: int,
        user: int | None,
        weights_bytes: Mapping[Hashable, float] = NO_WEIGHTS,
        *,
        refusable: bool = False,
    ) -> Process[Stay]:
        """Do a job: wait in the queue, then occupy a slot. A job of 0 FLOPs takes no time and leaves no row.

        Args:
            flops: floating-point operations.
            kind: kind of computation, for the tables.
            memory_bytes: peak memory in bytes, for the tables.
            user: number of the user that computes or is served; None is no single user.
            weights_bytes: size in bytes of each set of weights that the job works with, by name. The service time is
                that of the FLOPs or that of reading the weights, whichever is longer (roofline model: Williams,
                Waterman and Patterson, Communications of the ACM 52(4), 2009).
            refusable: True refuses the job if the queue is full; False lets it wait in any case.

        Returns:
            Waiting and service time of the job.

        Raises:
            ValueError: `flops` is negative or NaN.
            Full: the job is `refusable` and the queue is full.
            simpy.Interrupt: the job was interrupted; its row is written.
        """
        if not flops >= 0:
            raise ValueError(f"{kind}: {flops} FLOPs cannot be computed")
        if flops == 0:
            return Stay(0.0, 0.0, begun=False, interrupt=None)
        if refusable and self._full:
            yield After(self.env, self.env.now, ARRIVE)  # jobs that leave now make room first
            if self._full:
                raise QueueFull(f"{self.node} has no room for more than {self.capacity} jobs")
        round_number, requested_s = self.journal.round, self.env.now
        job = _Job(self, kind, flops, self._read_s(weights_bytes), self.slowdown(self.journal.local_round(user)))
        self._present[job] = None
        stay = yield from self.queue.serve(self.discipline.rank(kind, user), job)
        del self._present[job]
        job.end(stay.begun)
        energy_j = None if job.work_j is None else job.work_j / job.planned_s * stay.service_s
        self.journal.computed(
            ComputationRow(
                round=round_number,
                user=user,
                node=self.node,
                node_kind=self.node_kind,
                kind=kind,
                flops=float(flops),  # a count beyond 2^53 would not fit otherwise
                start_s=requested_s,
                end_s=self.env.now,
                wait_s=stay.wait_s,
                service_s=stay.service_s,
                slowdown=job.slowdown,
                memory_bytes=memory_bytes,
                energy_j=energy_j,
                interrupted=stay.interrupt is not None,
            )
        )
        if stay.interrupt is not None:
            raise stay.interrupt
        return Stay(stay.wait_s, stay.service_s, stay.begun, stay.interrupt, energy_j)

    @property
    def backlog_s(self) -> float:
        """Work of the jobs that wait or are served, in seconds of all slots at nominal speed.

        A job in service counts in full.
        """
        return in_order(job.nominal_s for job in self._present) / self.slots

    def _read_s(self, weights_bytes: Mapping[Hashable, float]) -> Mapping[Hashable, float]:
        """Return the time in seconds in which each set of weights is read."""
        bandwidth = self.memory_bandwidth_bytes_per_s
        return {} if bandwidth is None else {name: size / bandwidth for name, size in weights_bytes.items()}

    @property
    def _full(self) -> bool:
        return self.capacity is not None and self.queue.present >= self.capacity


class _Job(Job):
    """A job of a processor; its slowdown is drawn when it begins."""

    def __init__(
        self, processor: Processor, kind: str, flops: float, read_s: Mapping[Hashable, float], pace: Pace
    ) -> None:
        super().__init__(kind, flops / processor.flops_per_s, read_s)
        self.processor, self._pace = processor, pace
        energy = processor.energy
        self.work_j = None if energy is None else energy.energy_j(flops, processor.flops_per_s)
        self._power_w = 0.0

    def begin(self, nominal_s: float) -> float:
        """Begin service: draw the slowdown and start the meter; see `Job.begin`."""
        self._begun_s = self.processor.env.now
        self.slowdown = self._pace(self._begun_s, nominal_s)
        self.planned_s = nominal_s * self.slowdown
        if self.processor.meter is not None and self.work_j is not None:
            self._power_w = self.work_j / self.planned_s
            self.processor.meter.begin("compute", self._power_w)
        return self.planned_s

    def end(self, begun: bool) -> None:
        """End the job, completed or not; `begun` is False if it never was in service."""
        if not begun:
            self.slowdown = self._pace(self.processor.env.now, self.nominal_s)  # for its row
            self.planned_s = self.nominal_s * self.slowdown
            return
        if self.processor.worked is not None:
            self.processor.worked(self._begun_s, self.processor.env.now)
        if self.processor.meter is not None and self.work_j is not None:
            self.processor.meter.end("compute", self._power_w)
