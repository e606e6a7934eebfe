"""Thermal throttling beside its differential equation, solved step by step."""

from contextlib import suppress
from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import simpy
from scipy.integrate import solve_ivp
from worlds import Process, flat_compute, world

from netsim.description import DevicesDescription, StragglersDescription
from netsim.slowdown import DeviceJob, Throttling
from netsim.streams import Streams
from netsim.values import ConstantPerUser

LAW = Throttling(10.0, 0.5)


def job(start_s: float, nominal_s: float) -> DeviceJob:
    return DeviceJob(0, 0.5, Streams(1), start_s, nominal_s)


def by_ode(jobs: list[tuple[float, float]], law: Throttling) -> list[float]:
    """End of each job of (start, work), by integrating heat and work; the governor is the bang-bang limit."""
    heat, now_s, ends_s = law.initial_heat * law.sustained_speed, 0.0, []

    def hot(_: float, y: np.ndarray) -> float:
        return y[0] - law.sustained_speed

    def done(_: float, y: np.ndarray) -> float:
        return y[1]

    hot.terminal = done.terminal = True  # type: ignore[attr-defined]
    for start_s, work_s in jobs:
        start_s = max(start_s, now_s)
        rest = solve_ivp(lambda t, y: -y / law.time_constant_s, (now_s, start_s), [heat], rtol=1e-11, atol=1e-13)
        heat, left, now_s = float(rest.y[0, -1]) if start_s > now_s else heat, work_s, start_s
        if heat < law.sustained_speed * (1 - 1e-12):
            run = solve_ivp(
                lambda t, y: [(1 - y[0]) / law.time_constant_s, -1.0],
                (now_s, now_s + work_s + 1),
                [heat, left],
                events=(hot, done),
                rtol=1e-11,
                atol=1e-13,
            )
            now_s, heat, left = float(run.t[-1]), float(run.y[0, -1]), float(run.y[1, -1])
        now_s += max(left, 0.0) / law.sustained_speed
        ends_s.append(now_s)
    return ends_s


def test_a_cold_device_by_hand() -> None:
    """Full speed for 10 ln 2 s, half of it from then on."""
    full_s = 10 * log(2)
    assert LAW.slowdown(job(0.0, 5.0)) == 1.0
    assert LAW.slowdown(job(0.0, 20.0)) == pytest.approx((full_s + 2 * (20 - full_s)) / 20)
    assert Throttling(10.0, 1.0).slowdown(job(0.0, 1e9)) == 1.0
    assert Throttling(10.0, 0.5, initial_heat=1.0).slowdown(job(0.0, 3.0)) == pytest.approx(2.0)


def test_heat_goes_with_rest() -> None:
    device = LAW.new_device()
    device.worked(0.0, 100.0)
    assert device.at(100.0) == 0.5
    assert device.at(110.0) == pytest.approx(0.5 * exp(-1))
    device.worked(110.0, 112.0)
    assert device.at(112.0) == pytest.approx(1 - (1 - 0.5 * exp(-1)) * exp(-0.2))


@pytest.mark.parametrize("law", [LAW, Throttling(30.0, 0.8, 0.9), Throttling(3.0, 0.3)])
def test_jobs_and_rests_as_the_differential_equation_says(law: Throttling) -> None:
    rng = np.random.default_rng(2)
    starts = np.cumsum(rng.exponential(20.0, 12))
    jobs = list(zip(starts.tolist(), rng.exponential(12.0, 12).tolist(), strict=True))
    devices = DevicesDescription(ConstantPerUser(1e9))
    compute = replace(flat_compute(), devices=devices, stragglers=StragglersDescription(law))
    cell = world(compute=compute, users=1)

    def work(start_s: float, work_s: float) -> Process:
        yield cell.env.timeout(start_s)
        yield from cell.network.users[0].compute(work_s * 1e9, "work")

    cell.run(*(work(*each) for each in jobs))
    assert [row["end_s"] for row in cell.rows("computations")] == pytest.approx(by_ode(jobs, law), rel=1e-9)


def test_a_job_that_is_given_up_heats_for_as_long_as_it_ran() -> None:
    compute = replace(flat_compute(), stragglers=StragglersDescription(LAW))
    cell = world(compute=compute, users=1)
    (user,) = cell.network.users

    def attempt(length_s: float) -> Process:
        with suppress(simpy.Interrupt):
            yield from user.compute(length_s * 1e9, "work")

    running, waiting = cell.env.process(attempt(100.0)), cell.env.process(attempt(100.0))
    cell.at(2.0, lambda: waiting.interrupt("not even begun"))
    cell.at(4.0, lambda: running.interrupt("given up"))
    cell.env.run(9.0)
    cell.run(attempt(20.0))
    heat = (1 - exp(-0.4)) * exp(-0.5)
    full_s = 10 * log((1 - heat) / 0.5)
    assert cell.rows("computations")[-1]["service_s"] == pytest.approx(full_s + 2 * (20 - full_s), rel=1e-12)
