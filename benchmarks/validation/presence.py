"""Devices compared with closed forms: availability, lifetimes, batteries, throttling, clock energy, radio tail."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp

import numpy as np
import simpy
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

from benchmarks.validation.findings import Finding, mean, proportion
from netsim.battery import BatteryDescription, install_batteries
from netsim.energy import Cycles, Meter, OperatingPoints, RadioTail
from netsim.exogenous import ExogenousEvents
from netsim.faults import OnOffAvailability, Presence
from netsim.faults.availability import weibull_s
from netsim.journal import Journal
from netsim.slowdown import DeviceJob, Throttling
from netsim.streams import Streams
from netsim.trace import Trace
from netsim.values import ConstantPerUser

STREAMS = Streams(44)
USERS = 4000
POINTS = OperatingPoints()
KAPPA = Cycles(POINTS.capacitance_f * POINTS.voltages_v[-1] ** 2 / POINTS.clocks_hz[-1] ** 2)
"""The model kappa f^2, fitted at the fastest clock."""
HEAT = Throttling(100.0, 0.6)


def findings() -> list[Finding]:
    return [*_availability(), *_lifetimes(), *_batteries(), *_heat(), *_clocks(), _tail()]


def _availability() -> Iterator[Finding]:
    for name, law in (
        ("on-off, exponential", OnOffAvailability(3.0, 1.0)),
        ("on-off, Weibull 0.6 and 2", OnOffAvailability(3.0, 1.0, 0.6, 2.0)),
    ):
        there = _there(law, (0.0, 1.0, 25.0))
        for instant_s, column in zip((0, 1, 25), there.T, strict=True):
            yield proportion(name, f"available at {instant_s} s", "mean on / (mean on + mean off)", column, 0.75)
        if law.on_shape == 1:
            both = 0.75 * (0.75 + 0.25 * exp(-4 / 3))
            yield proportion(
                name, "available at 0 s and 1 s", "two-state Markov process", there[:, 0] & there[:, 1], both
            )
        groups = there[:, 2].reshape(-1, 10).sum(axis=1) >= 9
        yield proportion(name, "at least 9 of 10 available", "binomial", groups, 0.75**10 + 10 * 0.75**9 * 0.25)
    away_s = [sum(min(high, 1000.0) - low for low, high in _until(spans, 1000.0)) for spans in law.away(100, STREAMS)]
    yield mean(name, "outage time in 1000 s, s", "1000 s / 4", away_s, 250.0)


def _there(law: OnOffAvailability, instants_s: tuple[float, ...]) -> np.ndarray:
    rows = []
    for spans in law.away(USERS, STREAMS):
        away = _until(spans, max(instants_s) + 1e-9)
        rows.append([not any(low <= instant_s < high for low, high in away) for instant_s in instants_s])
    return np.array(rows)


def _until(spans: Iterator[tuple[float, float]], end_s: float) -> list[tuple[float, float]]:
    found = []
    for span in spans:
        if span[0] >= end_s:
            break
        found.append(span)
    return found


def _lifetimes() -> Iterator[Finding]:
    chances = STREAMS.uniform("lifetime", index=range(USERS))
    for shape in (1.0, 3.0):
        lives_s = [weibull_s(2.0, shape, chance) for chance in chances.tolist()]
        yield mean(f"lifetimes, shape {shape:g}", "mean, s", "specified mean", lives_s, 2.0)


def _batteries() -> Iterator[Finding]:
    """99 J; computing at 2 W for 3 s of every 10 s, idle at 0.5 W: 9.5 J a period, or 7.5 J with a harvest of 0.2 W."""
    for harvest_w, periods, left_j in ((0.0, 10, 4.0), (0.2, 13, 1.5)):
        expected_s = 10 * periods + left_j / (2.0 - harvest_w)
        name = f"life with a harvest of {harvest_w:g} W, s"
        yield Finding("battery", name, "whole periods and remainder", _life_s(99.0, harvest_w), expected_s, 1e-9)


def _life_s(capacity_j: float, harvest_w: float) -> float:
    env = simpy.Environment()
    meter = Meter(env, 0.5)
    presence = Presence(env, Journal(env, Trace(None)), 0, meter)
    exogenous = ExogenousEvents(env)
    exogenous.awaited.append(lambda: True)
    install_batteries(
        BatteryDescription(ConstantPerUser(capacity_j), harvest_power_w=harvest_w), [presence], exogenous, STREAMS
    )
    ends_s: list[float] = []

    def work():  # type: ignore[no-untyped-def]  # a simpy process
        while True:
            meter.begin("compute", 2.0)
            try:
                yield env.timeout(3.0)
            finally:
                meter.end("compute", 2.0)
            yield env.timeout(7.0)

    def live():  # type: ignore[no-untyped-def]
        try:
            yield from presence.attend(work())
        except simpy.Interrupt:
            ends_s.append(env.now)

    env.run(env.process(live()))
    return ends_s[0]


def _heat() -> Iterator[Finding]:
    """Compare with a differential equation in which the governor is a switch, instead of its limit in closed form."""
    for work_s in (60.0, 300.0):
        took_s = HEAT.slowdown(DeviceJob(0, 0.5, STREAMS, 0.0, work_s)) * work_s
        yield Finding("throttling", f"time of {work_s:g} s of work, s", "solve_ivp", took_s, _by_ode(work_s), 0.05)
    device = HEAT.new_device()
    device.worked(0.0, 50.0)
    heating = solve_ivp(lambda t, y: (1 - y) / 100.0, (0, 50), [0.0], rtol=1e-10, atol=1e-12).y[0, -1]
    cooled = solve_ivp(lambda t, y: -y / 100.0, (0, 30), [heating], rtol=1e-10, atol=1e-12).y[0, -1]
    yield Finding("throttling", "heat after 50 s of work, 30 s of rest", "solve_ivp", device.at(80.0), cooled, 1e-8)


def _by_ode(work_s: float) -> float:
    def flow(_: float, y: np.ndarray) -> list[float]:
        speed = 1.0 if y[0] < HEAT.sustained_speed else 0.0  # off above the threshold: chatters around it
        return [(speed - y[0]) / HEAT.time_constant_s, -speed]

    def done(_: float, y: np.ndarray) -> float:
        return float(y[1])

    done.terminal = True  # type: ignore[attr-defined]
    solved = solve_ivp(flow, (0, 2 * work_s), [0.0, work_s], events=done, method="RK23", max_step=0.05)
    return float(solved.t[-1])


def _clocks() -> Iterator[Finding]:
    for clock_hz, voltage_v in zip(POINTS.clocks_hz, POINTS.voltages_v, strict=True):
        ours_j = POINTS.energy_j(4.0, 4.0 * clock_hz)
        missed = 1 - KAPPA.energy_j(4.0, 4.0 * clock_hz) / ours_j
        by_hand = 1 - (clock_hz / 2.362e9) ** 2 / (voltage_v / 1.1) ** 2
        name = f"{clock_hz / 1e6:.0f} MHz: fraction missed by kappa f^2"
        yield Finding("operating points", name, "V^2 and f^2 by hand", missed, by_hand, 1e-12)


def _tail() -> Finding:
    """A transfer of 0.1 s every 4 s, then every 20 s: the tail is cut in the first case."""
    env = simpy.Environment()
    meter = Meter(env, 0.01, RadioTail())

    def send():  # type: ignore[no-untyped-def]
        for pause_s in (3.9, 3.9, 19.9, 19.9):
            meter.begin("transmit", 2.0)
            yield env.timeout(0.1)
            meter.end("transmit", 2.0)
            yield env.timeout(pause_s)

    env.run(env.process(send()))
    expected_j = 1.06 * (2 * 3.9 + 2 * 11.576)
    return Finding("radio tail", "J of four transfers", "by hand", meter.take().tail_j, expected_j, 1e-9)


def plot() -> Figure:
    """Plot the energy per cycle by table and by kappa f^2, and the mean speed of a hot device."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    clocks, speeds = figure.subplots(1, 2)
    megahertz = [clock_hz / 1e6 for clock_hz in POINTS.clocks_hz]
    for name, law, style in (("C V² (table)", POINTS, "o-"), ("κ f², right at the top", KAPPA, "s--")):
        energies = [1e9 * law.energy_j(4.0, 4.0 * clock_hz) for clock_hz in POINTS.clocks_hz]
        clocks.plot(megahertz, energies, style, label=name)
    clocks.set(xlabel="clock (MHz)", ylabel="energy of a cycle (nJ)", ylim=(0, None))
    clocks.legend(fontsize=7)
    works = np.linspace(1.0, 600.0, 60)
    for sustained in (0.8, 0.6, 0.4):
        law = Throttling(100.0, sustained)
        means = [1 / law.slowdown(DeviceJob(0, 0.5, STREAMS, 0.0, work_s)) for work_s in works.tolist()]
        speeds.plot(works, means, label=f"sustains {sustained:g}")
    speeds.set(xlabel="work without rest (s at nominal speed)", ylabel="mean speed", ylim=(0, 1.05))
    speeds.legend(fontsize=7)
    return figure
