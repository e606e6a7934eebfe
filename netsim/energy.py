"""Energy: what computing costs, and a meter that integrates a device's power exactly, instant of change by instant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Protocol

import simpy
from annotated_types import Ge, Gt


class ComputeEnergy(Protocol):
    """Energy of computing; it follows the work, not its duration: a slowdown stretches a job at unchanged energy."""

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        """Joules for `flops` operations on a processor of nominal speed `flops_per_s`."""
        ...


@dataclass(frozen=True)
class Cycles:
    """Switched capacitance: kappa f^2 joules for each clock cycle at clock f.

    Model and kappa: Tran et al., Federated Learning over Wireless Networks: Optimization Model Design and Analysis,
    IEEE INFOCOM 2019, where the energy of a cycle is (alpha / 2) f^2 with alpha = 2e-28.
    """

    kappa: Annotated[float, Ge(0)] = 1e-28
    """Effective switched capacitance of a mobile CPU in J s^2 per cycle; for GPUs take values near 1e-26."""
    flops_per_cycle: Annotated[float, Gt(0)] = 4.0
    """FLOPs done in a clock cycle, so that the clock is FLOP/s over this (our choice: one 128-bit vector unit)."""

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        clock_hz = flops_per_s / self.flops_per_cycle
        return self.kappa * clock_hz**2 * (flops / self.flops_per_cycle)


@dataclass(frozen=True)
class JoulesPerFlop:
    """A fixed energy for each floating-point operation."""

    joules_per_flop: Annotated[float, Ge(0)]
    """Joules per FLOP; data sheets give watts over FLOP/s."""

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        return self.joules_per_flop * flops


COMPUTE_ENERGIES: dict[str, type] = {"cycles": Cycles, "joules_per_flop": JoulesPerFlop}

Activity = Literal["transmit", "receive", "compute"]


class Consumption(NamedTuple):
    """Joules by what they were spent on."""

    transmit_j: float
    receive_j: float
    compute_j: float
    idle_j: float


class Store(Protocol):
    """Where a device's energy comes from."""

    def draw(self, power_w: float) -> None:
        """From now on the device draws this power."""
        ...

    def take(self) -> tuple[float, float]:
        """What is left now, and what came in since the last `take`, in J."""
        ...


class Meter:
    """The energy of one user's device. Idle power flows whenever it neither transmits, receives nor computes."""

    def __init__(self, env: simpy.Environment, idle_power_w: float) -> None:
        self.env, self.idle_power_w = env, idle_power_w
        self.store: Store | None = None
        self._on = True
        self.since_s: float = env.now
        self._changed_s: float = env.now
        self._joules = {"transmit": 0.0, "receive": 0.0, "compute": 0.0, "idle": 0.0}
        self._going_on: dict[Activity, list[float]] = {"transmit": [], "receive": [], "compute": []}

    def begin(self, activity: Activity, power_w: float) -> None:
        """From now on an activity draws `power_w`; several may go on at a time."""
        self._integrate()
        self._going_on[activity].append(power_w)
        self._tell()

    def end(self, activity: Activity, power_w: float) -> None:
        """An activity that began with this power is over."""
        self._integrate()
        self._going_on[activity].remove(power_w)
        self._tell()

    def switch(self, *, on: bool) -> None:
        """From now on the device is on, or off and draws nothing; its activities end in that instant."""
        self._integrate()
        self._on = on
        self._tell()

    def draw_from(self, store: Store) -> None:
        """From now on energy comes from there."""
        self.store = store
        self._tell()

    def take(self) -> Consumption:
        """The energy since the last `take`, or since the beginning; `since_s` says from when the next one counts."""
        self._integrate()
        taken = Consumption(*self._joules.values())
        self._joules = dict.fromkeys(self._joules, 0.0)
        self.since_s = self.env.now
        return taken

    def stored(self) -> tuple[float | None, float | None]:
        """What is left in the store, and what came in since this was last asked; None without one."""
        return (None, None) if self.store is None else self.store.take()

    def _integrate(self) -> None:
        elapsed_s = self.env.now - self._changed_s
        self._changed_s = self.env.now
        if elapsed_s == 0:
            return
        idle = True
        for activity, powers_w in self._going_on.items():
            if powers_w:
                idle = False
                self._joules[activity] += sum(powers_w) * elapsed_s
        if idle:
            self._joules["idle"] += self._idle_w * elapsed_s

    def _tell(self) -> None:
        if self.store is not None:
            powers_w = [power_w for going_on in self._going_on.values() for power_w in going_on]
            self.store.draw(sum(powers_w) if powers_w else self._idle_w)

    @property
    def _idle_w(self) -> float:
        return self.idle_power_w if self._on else 0.0
