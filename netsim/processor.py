"""Processors: a queue, first come first served, before one or several slots of equal speed."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import simpy

from netsim.energy import ComputeEnergy, Meter
from netsim.journal import Journal
from netsim.slowdown import Pace
from netsim.tables import ComputationRow

Timed = Generator[simpy.Event, Any, None]
"""What spends simulated time: use it with `yield from`; an interrupt releases whatever it holds and is passed on."""


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
        slowdown: Callable[[int], Pace] = nominal,
        energy: ComputeEnergy | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.env, self.journal = env, journal
        self.node, self.node_kind = node, node_kind
        self.flops_per_s, self.slowdown, self.energy, self.meter = flops_per_s, slowdown, energy, meter
        self._slots = simpy.Resource(env, slots)

    def compute(self, flops: float, kind: str, memory_bytes: int, user: int | None) -> Timed:
        """Queue for a slot, then hold it as long as the job takes. No operations take no time and leave no row.

        Raises ValueError if `flops` is negative or no number.
        """
        if not flops >= 0:
            raise ValueError(f"{kind}: {flops} FLOPs cannot be computed")
        if flops == 0:
            return
        round_number, asked_s = self.journal.round, self.env.now
        nominal_s, pace = flops / self.flops_per_s, self.slowdown(round_number)
        work_j = None if self.energy is None else self.energy.energy_j(flops, self.flops_per_s)
        begun_s: float | None = None
        interrupt: simpy.Interrupt | None = None
        with self._slots.request() as slot:
            try:
                yield slot
                begun_s = self.env.now
                slowdown = pace(begun_s, nominal_s)
                yield from self._serve(nominal_s * slowdown, work_j)
            except simpy.Interrupt as cause:
                interrupt = cause
        end_s = self.env.now
        if begun_s is None:
            slowdown = pace(end_s, nominal_s)  # what it would have been
        served_from_s = end_s if begun_s is None else begun_s
        service_s = end_s - served_from_s
        self.journal.computed(
            ComputationRow(
                round=round_number,
                user=user,
                node=self.node,
                node_kind=self.node_kind,
                kind=kind,
                flops=float(flops),  # a count beyond 2^53 would not fit otherwise
                start_s=asked_s,
                end_s=end_s,
                wait_s=served_from_s - asked_s,
                service_s=service_s,
                slowdown=slowdown,
                memory_bytes=memory_bytes,
                energy_j=None if work_j is None else work_j / (nominal_s * slowdown) * service_s,
                interrupted=interrupt is not None,
            )
        )
        if interrupt is not None:
            raise interrupt

    def _serve(self, planned_s: float, work_j: float | None) -> Timed:
        if self.meter is None or work_j is None:
            yield self.env.timeout(planned_s)
            return
        power_w = work_j / planned_s
        self.meter.begin("compute", power_w)
        try:
            yield self.env.timeout(planned_s)
        finally:
            self.meter.end("compute", power_w)
