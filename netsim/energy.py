"""Energy: models of the energy of computing, and a meter that integrates the power of a device exactly over time."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import inf
from typing import Annotated, Literal, NamedTuple, Protocol

import simpy
from annotated_types import Ge, Gt, MinLen

from netsim.sums import in_order


class ComputeEnergy(Protocol):
    """A model of the energy of computing. Energy depends on the work, not on its duration: a slowdown stretches a job
    at unchanged energy."""

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        """Return the energy of a job in J.

        Args:
            flops: floating-point operations of the job.
            flops_per_s: nominal speed of the processor in FLOP/s.

        Raises:
            ValueError: the model does not allow this speed.
        """
        ...

    def of_user(self, user: int) -> ComputeEnergy:
        """Return the model of the device of user number `user`; it is the same object where all devices are alike."""
        ...


@dataclass(frozen=True)
class Cycles:
    """Effective switched capacitance: a clock cycle takes kappa f^2 joules at clock frequency f.

    Model and kappa: Tran et al., Federated Learning over Wireless Networks: Optimization Model Design and Analysis,
    IEEE INFOCOM 2019, where the energy of a cycle is (alpha / 2) f^2 with alpha = 2e-28.
    """

    kappa: Annotated[float, Ge(0)] = 1e-28
    """Effective switched capacitance of a mobile CPU in J s^2 per cycle; about 1e-26 for GPUs. It holds for clocks near
    1e9 Hz: at the clock of a microcontroller it gives a millionth of the real energy."""
    flops_per_cycle: Annotated[float, Gt(0)] = 4.0
    """FLOPs per clock cycle; the clock is FLOP/s over this (our choice: one 128-bit vector unit). Devices beyond some
    1e10 FLOP/s do more in a cycle: with 4 their clock, which counts squared, would be impossible."""

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        clock_hz = flops_per_s / self.flops_per_cycle
        return self.kappa * clock_hz**2 * (flops / self.flops_per_cycle)

    def of_user(self, user: int) -> Cycles:
        return self


@dataclass(frozen=True)
class JoulesPerFlop:
    """A fixed energy for each floating-point operation."""

    joules_per_flop: Annotated[float, Ge(0)]
    """Energy in J per FLOP; from a data sheet, power in W over speed in FLOP/s."""

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        return self.joules_per_flop * flops

    def of_user(self, user: int) -> JoulesPerFlop:
        return self


@dataclass(frozen=True)
class OperatingPoints:
    """Dynamic voltage and frequency scaling by a table: a clock cycle takes C V^2 joules, plus static power.

    A device runs at the lowest operating point whose clock suffices for its speed. Defaults: one Cortex-A73 core of the
    Kirin 960, from Linux (arch/arm64/boot/dts/hisilicon/hi3660.dtsi: five points, dynamic-power-coefficient 550, which
    the kernel defines in uW/MHz/V^2). Its A53 cores: 533 to 1844 MHz, the same voltages, 110.
    """

    clocks_hz: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = (0.903e9, 1.421e9, 1.805e9, 2.112e9, 2.362e9)
    """Clock of each operating point in Hz, ascending."""
    voltages_v: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = (0.7, 0.8, 0.9, 1.0, 1.1)
    """Voltage of each operating point in V."""
    capacitance_f: Annotated[float, Gt(0)] = 550e-12
    """Effective switched capacitance in F: 1 uW/MHz/V^2 is 1 pF."""
    static_power_w: Annotated[float, Ge(0)] = 0.0
    """Static (leakage) power in W, for the duration of a job without slowdown."""
    flops_per_cycle: Annotated[float, Gt(0)] = 4.0
    """FLOPs per clock cycle (our choice: one 128-bit vector unit)."""

    def __post_init__(self) -> None:
        if len(self.clocks_hz) != len(self.voltages_v):
            raise ValueError(f"{len(self.clocks_hz)} clocks are given, but {len(self.voltages_v)} voltages")
        if list(self.clocks_hz) != sorted(self.clocks_hz):
            raise ValueError("clocks_hz must ascend")

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        """Return the energy of a job in J. Raises ValueError if no clock is fast enough for `flops_per_s`."""
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
"""An activity of a device that draws power."""

ENERGY_OF: dict[Activity, str] = {"transmit": "transmit_j", "receive": "receive_j", "compute": "compute_j"}
"""Column of the table `energy` that an activity's energy is added to."""

RADIO: tuple[Activity, ...] = ("transmit", "receive")
"""Activities of the radio; a radio tail follows them."""


@dataclass(frozen=True)
class RadioTail:
    """Radio tail: after a transfer a radio stays in a state of high power before it sleeps. The next transfer ends it.

    An abandoned transfer has a tail as any other, unless it had no airtime. The tail continues while a device is away
    but switched on (`network.faults`); a device that is off has no tail, and its radio sleeps when it returns.

    Defaults are LTE's: Huang et al., A close examination of performance and power characteristics of 4G LTE networks,
    MobiSys 2012, table 3. Wi-Fi there: 0.1193 W for 0.2381 s. 3G: Balasubramanian et al., Energy consumption in mobile
    phones, IMC 2009: 0.62 W for 12.5 s.
    """

    power_w: Annotated[float, Ge(0)] = 1.06
    """Power in W during the tail, instead of idle power."""
    duration_s: Annotated[float, Gt(0)] = 11.576
    """Duration of the tail in seconds."""


class Consumption(NamedTuple):
    """Energy of a device over some time, in J."""

    transmit_j: float
    receive_j: float
    compute_j: float
    idle_j: float
    """Energy while the device was on without activity or radio tail."""
    tail_j: float
    """Energy of the radio after transfers, before it slept."""


class EnergyStore(Protocol):
    """A source of energy with a charge, such as a battery."""

    def draw(self, power_w: float) -> None:
        """Set the power in W that the device draws from now on."""
        ...

    def take(self) -> tuple[float, float]:
        """Return the charge now, and the energy stored since the last `take`, both in J."""
        ...


class Meter:
    """The energy meter of one user's device. While the device is on and nothing else draws power, it draws idle power.

    Powers are constant between calls of `begin`, `end` and `switch`, so that the integral is exact.
    """

    def __init__(self, env: simpy.Environment, idle_power_w: float, tail: RadioTail | None = None) -> None:
        """Start a meter at zero.

        Args:
            env: the environment, for its clock.
            idle_power_w: power in W without activity.
            tail: the radio tail after transfers; None is none.
        """
        self.env, self.idle_power_w, self.tail = env, idle_power_w, tail
        self.store: EnergyStore | None = None
        self.since_s: float = env.now
        self._on = True
        self._changed_s: float = env.now
        self._radio_since_s = -inf  # start of the present or latest time with a transfer
        self._tail_until_s = -inf
        self._joules = dict.fromkeys(Consumption._fields, 0.0)
        self._powers_w: dict[Activity, list[float]] = {"transmit": [], "receive": [], "compute": []}

    def begin(self, activity: Activity, power_w: float) -> None:
        """Begin an activity that draws `power_w` in W from now on; several activities may overlap."""
        self._integrate()
        if activity in RADIO and not self._on_air:
            self._radio_since_s = self._changed_s
        self._powers_w[activity].append(power_w)
        if self.store is not None:
            self._update_store()

    def change(self, activity: Activity, before_w: float, power_w: float) -> None:
        """Change the power of an ongoing activity from `before_w` to `power_w`, both in W."""
        self._integrate()
        powers_w = self._powers_w[activity]
        powers_w.remove(before_w)
        powers_w.append(power_w)
        if self.store is not None:
            self._update_store()

    def end(self, activity: Activity, power_w: float) -> None:
        """End an activity, whose power in W is that of its beginning or of its latest change."""
        self._integrate()
        self._powers_w[activity].remove(power_w)
        if self.tail is not None and self._on and activity in RADIO and not self._on_air:
            self._begin_tail(self.tail)
        if self.store is not None:
            self._update_store()

    def _begin_tail(self, tail: RadioTail) -> None:
        """Begin the tail of a transfer that ends now, unless it had no airtime."""
        if self._radio_since_s < self.env.now:
            self._tail_until_s = self.env.now + tail.duration_s
            if self.store is not None:
                self.env.timeout(tail.duration_s).callbacks.append(lambda _: self._update_store())

    def switch(self, *, on: bool) -> None:
        """Switch the device on or off. A device that is off draws no power; its activities end at once."""
        if on != self._on:
            self._integrate()
            self._on, self._tail_until_s = on, -inf
            self._update_store()

    def draw_from(self, store: EnergyStore) -> None:
        """Take energy from `store` from now on."""
        self.store = store
        self._update_store()

    def take(self) -> Consumption:
        """Return the energy since `since_s`, the time of the last `take` or of the start, and set `since_s` to now."""
        self._integrate()
        taken = Consumption(**self._joules)
        self._joules = dict.fromkeys(self._joules, 0.0)
        self.since_s = self.env.now
        return taken

    def stored(self) -> tuple[float | None, float | None]:
        """Return the charge of the store, and the energy stored since the last call, in J; None without a store."""
        return (None, None) if self.store is None else self.store.take()

    def _integrate(self) -> None:
        now_s = self.env.now
        elapsed_s = now_s - self._changed_s
        if elapsed_s == 0:
            return
        idle_s = elapsed_s
        if self.tail is not None and self._tail_until_s > self._changed_s and not self._on_air:
            tail_s = min(self._tail_until_s - self._changed_s, elapsed_s)
            self._joules["tail_j"] += self.tail.power_w * tail_s
            idle_s -= tail_s
        self._changed_s = now_s
        joules = self._joules
        for activity, powers_w in self._powers_w.items():
            if powers_w:
                idle_s = 0.0
                joules[ENERGY_OF[activity]] += in_order(powers_w) * elapsed_s
        if self._on:
            joules["idle_j"] += self.idle_power_w * idle_s

    def _update_store(self) -> None:
        """Set the power that is drawn from the store from now on."""
        if self.store is None:
            return
        powers_w = [power_w for powers in self._powers_w.values() for power_w in powers]
        if self.tail is not None and self._tail_until_s > self.env.now and not self._on_air:
            powers_w.append(self.tail.power_w)
        self.store.draw(in_order(powers_w) if powers_w else self._idle_w)

    @property
    def _on_air(self) -> bool:
        return bool(self._powers_w["transmit"] or self._powers_w["receive"])

    @property
    def _idle_w(self) -> float:
        return self.idle_power_w if self._on else 0.0
