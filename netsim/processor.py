"""Processors: a queue before one or several slots of equal speed."""

from __future__ import annotations

from collections.abc import Callable

import simpy

from netsim.energy import ComputeEnergy, Meter
from netsim.instants import ARRIVE, After
from netsim.journal import Journal
from netsim.process import Process
from netsim.queueing import Discipline, Fifo, Full, Stay
from netsim.slowdown import Pace
from netsim.tables import ComputationRow


def nominal(round_number: int) -> Pace:
    """The pace of a processor that keeps its speed."""
    return lambda start_s, nominal_s: 1.0


class Processor:
    """Does jobs at `flops_per_s` a slot, each stretched by its slowdown. Without an energy model, energies are null."""

    def __init__(
        self,
        env: simpy.Environment,
        journal: Journal,
        node: str,
        node_kind: str,
        flops_per_s: float,
        *,
        slots: int = 1,
        discipline: Discipline | None = None,
        capacity: int | None = None,
        slowdown: Callable[[int], Pace] = nominal,
        worked: Callable[[float, float], None] | None = None,
        energy: ComputeEnergy | None = None,
        meter: Meter | None = None,
    ) -> None:
        """First come, first served unless a discipline says otherwise; `capacity` counts waiting and served jobs.

        `worked` is told from when until when a job was on the processor.
        """
        self.env, self.journal = env, journal
        self.node, self.node_kind = node, node_kind
        self.flops_per_s, self.slowdown, self.energy, self.meter = flops_per_s, slowdown, energy, meter
        self.worked = worked
        self.discipline, self.capacity = discipline or Fifo(), capacity
        self.queue = self.discipline.queue(env, slots)

    def compute(
        self, flops: float, kind: str, memory_bytes: int, user: int | None, *, refusable: bool = False
    ) -> Process[Stay]:
        """Queue and be served; return how long each took. No operations take no time and leave no row.

        Raises ValueError if `flops` is negative or no number, and Full at once if the job is `refusable` and there is
        no room for it; any other job waits, room or not.
        """
        if not flops >= 0:
            raise ValueError(f"{kind}: {flops} FLOPs cannot be computed")
        if flops == 0:
            return Stay(0.0, 0.0, begun=False, interrupt=None)
        if refusable and self._full:
            yield After(self.env, self.env.now, ARRIVE)  # who leaves makes room before who comes
            if self._full:
                raise Full(f"{self.node} has no room for more than {self.capacity} jobs")
        round_number, asked_s = self.journal.round, self.env.now
        job = _Job(self, flops, self.slowdown(self.journal.local_round(user)))
        stay = yield from self.queue.serve(self.discipline.rank(kind, user), job.begin)
        job.end(stay.begun)
        self.journal.computed(
            ComputationRow(
                round=round_number,
                user=user,
                node=self.node,
                node_kind=self.node_kind,
                kind=kind,
                flops=float(flops),  # a count beyond 2^53 would not fit otherwise
                start_s=asked_s,
                end_s=self.env.now,
                wait_s=stay.wait_s,
                service_s=stay.service_s,
                slowdown=job.slowdown,
                memory_bytes=memory_bytes,
                energy_j=None if job.work_j is None else job.work_j / job.planned_s * stay.service_s,
                interrupted=stay.interrupt is not None,
            )
        )
        if stay.interrupt is not None:
            raise stay.interrupt
        return stay

    @property
    def _full(self) -> bool:
        return self.capacity is not None and self.queue.present >= self.capacity


class _Job:
    """A job and how fast it goes, which is known when it begins."""

    def __init__(self, processor: Processor, flops: float, pace: Pace) -> None:
        self.processor, self._pace = processor, pace
        self._nominal_s = flops / processor.flops_per_s
        energy = processor.energy
        self.work_j = None if energy is None else energy.energy_j(flops, processor.flops_per_s)
        self._power_w = 0.0

    @property
    def planned_s(self) -> float:
        """What it takes of one slot."""
        return self._nominal_s * self.slowdown

    def begin(self) -> float:
        """Tells what it takes; the meter runs from now on."""
        self._begun_s = self.processor.env.now
        self.slowdown = self._pace(self._begun_s, self._nominal_s)
        if self.processor.meter is not None and self.work_j is not None:
            self._power_w = self.work_j / self.planned_s
            self.processor.meter.begin("compute", self._power_w)
        return self.planned_s

    def end(self, begun: bool) -> None:
        """It is over, done or not."""
        if not begun:
            self.slowdown = self._pace(self.processor.env.now, self._nominal_s)  # what it would have been
            return
        if self.processor.worked is not None:
            self.processor.worked(self._begun_s, self.processor.env.now)
        if self.processor.meter is not None and self.work_j is not None:
            self.processor.meter.end("compute", self._power_w)
