"""Processors: a queue, first come first served, before one or several slots of equal speed."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import simpy

from netsim.energy import ComputeEnergy, Meter
from netsim.journal import Journal
from netsim.tables import ComputationRow

Timed = Generator[simpy.Event, Any, None]
"""What spends simulated time: use it with `yield from`; an interrupt releases whatever it holds and is passed on."""


def nominal(round_number: int) -> float:
    """The slowdown of a processor that keeps its speed."""
    return 1.0


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
        slowdown: Callable[[int], float] = nominal,
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
        slowdown = self.slowdown(round_number)
        planned_s = flops / self.flops_per_s * slowdown
        power_w = None if self.energy is None else self.energy.energy_j(flops, self.flops_per_s) / planned_s
        begun_s: float | None = None
        interrupt: simpy.Interrupt | None = None
        with self._slots.request() as slot:
            try:
                yield slot
                begun_s = self.env.now
                yield from self._serve(planned_s, power_w)
            except simpy.Interrupt as cause:
                interrupt = cause
        end_s = self.env.now
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
                energy_j=None if power_w is None else power_w * service_s,
                interrupted=interrupt is not None,
            )
        )
        if interrupt is not None:
            raise interrupt

    def _serve(self, planned_s: float, power_w: float | None) -> Timed:
        if self.meter is None or power_w is None:
            yield self.env.timeout(planned_s)
            return
        self.meter.begin("compute", power_w)
        try:
            yield self.env.timeout(planned_s)
        finally:
            self.meter.end("compute", power_w)
