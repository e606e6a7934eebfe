"""Energy: what computing costs, and a meter that integrates a device's power exactly, instant of change by instant."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import inf
from typing import Annotated, Literal, NamedTuple, Protocol

import simpy
from annotated_types import Ge, Gt, MinLen


class ComputeEnergy(Protocol):
    """Energy of computing; it follows the work, not its duration: a slowdown stretches a job at unchanged energy."""

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        """Joules for `flops` operations on a processor of nominal speed `flops_per_s`."""
        ...

    def of_user(self, user: int) -> ComputeEnergy:
        """The model of one user's device; itself where all are alike."""
        ...


@dataclass(frozen=True)
class Cycles:
    """Switched capacitance: kappa f^2 joules for each clock cycle at clock f.

    Model and kappa: Tran et al., Federated Learning over Wireless Networks: Optimization Model Design and Analysis,
    IEEE INFOCOM 2019, where the energy of a cycle is (alpha / 2) f^2 with alpha = 2e-28.
    """

    kappa: Annotated[float, Ge(0)] = 1e-28
    """Effective switched capacitance of a mobile CPU in J s^2 per cycle; for GPUs take values near 1e-26. It holds for
    clocks of some 1e9 Hz: at a microcontroller's it makes a millionth of what that draws."""
    flops_per_cycle: Annotated[float, Gt(0)] = 4.0
    """FLOPs done in a clock cycle, so that the clock is FLOP/s over this (our choice: one 128-bit vector unit). Beyond
    some 1e10 FLOP/s a device does more in a cycle: with 4 its clock, which counts squared, would be impossible."""

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        clock_hz = flops_per_s / self.flops_per_cycle
        return self.kappa * clock_hz**2 * (flops / self.flops_per_cycle)

    def of_user(self, user: int) -> Cycles:
        return self


@dataclass(frozen=True)
class JoulesPerFlop:
    """A fixed energy for each floating-point operation."""

    joules_per_flop: Annotated[float, Ge(0)]
    """Joules per FLOP; data sheets give watts over FLOP/s."""

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        return self.joules_per_flop * flops

    def of_user(self, user: int) -> JoulesPerFlop:
        return self


@dataclass(frozen=True)
class OperatingPoints:
    """Dynamic voltage and frequency scaling by a table: C V^2 joules for each clock cycle, plus static power.

    A device runs at the lowest operating point whose clock is that of its speed or more. Defaults: one Cortex-A73 core
    of the Kirin 960, from Linux (arch/arm64/boot/dts/hisilicon/hi3660.dtsi: five points, dynamic-power-coefficient 550,
    which the kernel defines in uW/MHz/V^2). Its A53: 533 to 1844 MHz, the same voltages, 110.
    """

    clocks_hz: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = (0.903e9, 1.421e9, 1.805e9, 2.112e9, 2.362e9)
    """Clocks that the processor can run at in Hz, ascending."""
    voltages_v: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = (0.7, 0.8, 0.9, 1.0, 1.1)
    """Voltage at each of them in V."""
    capacitance_f: Annotated[float, Gt(0)] = 550e-12
    """Effective switched capacitance in F: 1 uW/MHz/V^2 is 1 pF."""
    static_power_w: Annotated[float, Ge(0)] = 0.0
    """Power of leakage in W, over the time that a job takes without a slowdown."""
    flops_per_cycle: Annotated[float, Gt(0)] = 4.0
    """FLOPs done in a clock cycle (our choice: one 128-bit vector unit)."""

    def __post_init__(self) -> None:
        if len(self.clocks_hz) != len(self.voltages_v):
            raise ValueError(f"{len(self.clocks_hz)} clocks are given, but {len(self.voltages_v)} voltages")
        if list(self.clocks_hz) != sorted(self.clocks_hz):
            raise ValueError("clocks_hz must ascend")

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        """Raises ValueError if no clock is fast enough."""
        clock_hz = flops_per_s / self.flops_per_cycle
        point = bisect_left(self.clocks_hz, clock_hz)
        if point == len(self.clocks_hz):
            raise ValueError(
                f"{flops_per_s:g} FLOP/s need a clock of {clock_hz:g} Hz; the fastest is {self.clocks_hz[-1]:g} Hz"
            )
        cycles = flops / self.flops_per_cycle
        return self.capacitance_f * self.voltages_v[point] ** 2 * cycles + self.static_power_w * flops / flops_per_s

    def of_user(self, user: int) -> OperatingPoints:
        return self


Activity = Literal["transmit", "receive", "compute"]

SPENT_ON: dict[Activity, str] = {"transmit": "transmit_j", "receive": "receive_j", "compute": "compute_j"}

RADIO: tuple[Activity, ...] = ("transmit", "receive")


@dataclass(frozen=True)
class RadioTail:
    """What a radio draws after a transfer before it goes to sleep; a transfer that begins meanwhile cuts it.

    A transfer that was given up has a tail as any other, unless it had no airtime. The tail goes on while a device that
    is on is away (network.faults); a device that is switched off has none, and its radio sleeps when it returns.

    Defaults are LTE's: Huang et al., A close examination of performance and power characteristics of 4G LTE networks,
    MobiSys 2012, table 3. Wi-Fi there: 0.1193 W for 0.2381 s. 3G: Balasubramanian et al., Energy consumption in mobile
    phones, IMC 2009: 0.62 W for 12.5 s.
    """

    power_w: Annotated[float, Ge(0)] = 1.06
    """Power in W, instead of idle power."""
    duration_s: Annotated[float, Gt(0)] = 11.576
    """How long in seconds."""


class Consumption(NamedTuple):
    """Joules by what they were spent on."""

    transmit_j: float
    receive_j: float
    compute_j: float
    idle_j: float
    tail_j: float


class EnergyStore(Protocol):
    """Where a device's energy comes from."""

    def draw(self, power_w: float) -> None:
        """From now on the device draws this power."""
        ...

    def take(self) -> tuple[float, float]:
        """What is left now, and what came in since the last `take`, in J."""
        ...


class Meter:
    """The energy of one user's device. While it is on, idle power flows whenever no other power does."""

    def __init__(self, env: simpy.Environment, idle_power_w: float, tail: RadioTail | None = None) -> None:
        self.env, self.idle_power_w, self.tail = env, idle_power_w, tail
        self.store: EnergyStore | None = None
        self.since_s: float = env.now
        self._on = True
        self._changed_s: float = env.now
        self._radio_since_s = -inf  # since when there is a transfer, the last time that there was one
        self._tail_until_s = -inf
        self._joules = dict.fromkeys(Consumption._fields, 0.0)
        self._going_on: dict[Activity, list[float]] = {"transmit": [], "receive": [], "compute": []}

    def begin(self, activity: Activity, power_w: float) -> None:
        """From now on an activity draws `power_w`; several may go on at a time."""
        self._integrate()
        if activity in RADIO and not self._on_air:
            self._radio_since_s = self.env.now
        self._going_on[activity].append(power_w)
        self._tell()

    def end(self, activity: Activity, power_w: float) -> None:
        """An activity that began with this power is over."""
        self._integrate()
        self._going_on[activity].remove(power_w)
        ended = activity in RADIO and not self._on_air and self._radio_since_s < self.env.now
        if self.tail is not None and ended and self._on:
            self._tail_until_s = self.env.now + self.tail.duration_s
            if self.store is not None:
                self.env.timeout(self.tail.duration_s).callbacks.append(lambda _: self._tell())
        self._tell()

    def switch(self, *, on: bool) -> None:
        """From now on the device is on, or off and draws nothing; activities of a device that goes off end at once."""
        if on != self._on:
            self._integrate()
            self._on, self._tail_until_s = on, -inf
            self._tell()

    def draw_from(self, store: EnergyStore) -> None:
        """From now on energy comes from there."""
        self.store = store
        self._tell()

    def take(self) -> Consumption:
        """The energy since the last `take`, or since the beginning; `since_s` says from when the next one counts."""
        self._integrate()
        taken = Consumption(**self._joules)
        self._joules = dict.fromkeys(self._joules, 0.0)
        self.since_s = self.env.now
        return taken

    def stored(self) -> tuple[float | None, float | None]:
        """What is left in the store, and what came in since this was last asked; None without one."""
        return (None, None) if self.store is None else self.store.take()

    def _integrate(self) -> None:
        elapsed_s = self.env.now - self._changed_s
        if elapsed_s == 0:
            return
        idle_s = elapsed_s
        if self.tail is not None and self._tail_until_s > self._changed_s and not self._on_air:
            tail_s = min(self._tail_until_s - self._changed_s, elapsed_s)
            self._joules["tail_j"] += self.tail.power_w * tail_s
            idle_s -= tail_s
        self._changed_s = self.env.now
        for activity, powers_w in self._going_on.items():
            if powers_w:
                idle_s = 0.0
                self._joules[SPENT_ON[activity]] += sum(powers_w) * elapsed_s
        self._joules["idle_j"] += self._idle_w * idle_s

    def _tell(self) -> None:
        """Say what is drawn from now on to whoever has to know."""
        if self.store is None:
            return
        powers_w = [power_w for going_on in self._going_on.values() for power_w in going_on]
        if self.tail is not None and self._tail_until_s > self.env.now and not self._on_air:
            powers_w.append(self.tail.power_w)
        self.store.draw(sum(powers_w) if powers_w else self._idle_w)

    @property
    def _on_air(self) -> bool:
        return any(map(self._going_on.get, RADIO))

    @property
    def _idle_w(self) -> float:
        return self.idle_power_w if self._on else 0.0
