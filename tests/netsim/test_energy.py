"""Energy of computing by its formulas; the meter against piecewise integration by hand."""

from dataclasses import replace
from functools import partial

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from worlds import ENERGY, world

from netsim.energy import Activity, Cycles, JoulesPerFlop, Meter, OperatingPoints, RadioTail
from netsim.values import ConstantPerUser


def test_switched_capacitance() -> None:
    """1 GFLOP at 4 FLOPs a cycle is 2.5e8 cycles; at 8 GFLOP/s the clock is 2 GHz: 1e-28 * 4e18 * 2.5e8 = 0.1 J."""
    assert Cycles(1e-28, 4.0).energy_j(1e9, 8e9) == pytest.approx(0.1, rel=1e-12)


def test_half_the_clock_is_a_quarter_of_the_energy() -> None:
    energy = Cycles()
    assert energy.energy_j(1e9, 4e9) == pytest.approx(energy.energy_j(1e9, 8e9) / 4, rel=1e-12)


def test_joules_per_flop() -> None:
    assert JoulesPerFlop(2e-11).energy_j(1e9, 1.0) == JoulesPerFlop(2e-11).energy_j(1e9, 5e12) == pytest.approx(0.02)


def test_meter_by_hand() -> None:
    env = simpy.Environment()
    meter = Meter(env, idle_power_w=0.5)
    env.run(2)  # idle
    meter.begin("compute", 3.0)
    env.run(5)
    meter.begin("transmit", 1.0)  # both at a time
    env.run(6)
    meter.end("compute", 3.0)
    env.run(10)
    meter.end("transmit", 1.0)
    env.run(11)  # idle
    assert meter.take() == pytest.approx((5.0, 0.0, 12.0, 1.5, 0.0))
    assert meter.since_s == 11
    assert meter.take() == (0, 0, 0, 0, 0)
    env.run(12)
    assert meter.take() == (0, 0, 0, 0.5, 0)


def test_an_activity_may_go_on_several_times_at_once() -> None:
    env = simpy.Environment()
    meter = Meter(env, idle_power_w=0.5)
    meter.begin("receive", 1.0)
    meter.begin("receive", 2.0)
    env.run(1)
    meter.end("receive", 1.0)
    env.run(3)
    meter.end("receive", 2.0)
    assert meter.take() == pytest.approx((0.0, 1.0 + 3 * 2.0, 0.0, 0.0, 0.0))


spans = st.lists(
    st.tuples(st.sampled_from(["transmit", "receive", "compute"]), st.floats(0, 10), st.floats(0, 10), st.floats(0, 5)),
    max_size=8,
)


@given(spans)
def test_any_activities_integrate_exactly(work: list[tuple[Activity, float, float, float]]) -> None:
    env = simpy.Environment()
    meter = Meter(env, idle_power_w=0.25)

    def span(activity: Activity, start_s: float, length_s: float, power_w: float) -> simpy.events.ProcessGenerator:
        yield env.timeout(start_s)
        meter.begin(activity, power_w)
        yield env.timeout(length_s)
        meter.end(activity, power_w)

    for item in work:
        env.process(span(*item))
    env.run(30)
    expected = dict.fromkeys(("transmit", "receive", "compute"), 0.0)
    for activity, _, length_s, power_w in work:
        expected[activity] += length_s * power_w
    busy_s, reached_s = 0.0, 0.0
    for start_s, end_s in sorted((start_s, start_s + length_s) for _, start_s, length_s, _ in work):
        busy_s += max(0.0, end_s - max(start_s, reached_s))
        reached_s = max(reached_s, end_s)
    assert meter.take() == pytest.approx((*expected.values(), 0.25 * (30 - busy_s), 0.0), rel=1e-9, abs=1e-9)


def tailed(*transfers: tuple[float, float], computing: tuple[float, float] | None = None) -> tuple[float, ...]:
    """Consumption until 20 s of a device with a tail of 2 W for 3 s, that sends at 5 W in these spans."""
    env = simpy.Environment()
    meter = Meter(env, 0.5, RadioTail(2.0, 3.0))
    changes = [(at, act, "transmit", 5.0) for low, high in transfers for at, act in ((low, "begin"), (high, "end"))]
    if computing:
        changes += [(computing[0], "begin", "compute", 1.0), (computing[1], "end", "compute", 1.0)]
    for at, act, activity, power_w in sorted(changes):
        if at > env.now:
            env.run(at)
        getattr(meter, act)(activity, power_w)
    env.run(20.0)
    return meter.take()


def test_a_radio_has_a_tail() -> None:
    assert tailed() == (0, 0, 0, 10.0, 0)
    assert tailed((1.0, 2.0)) == pytest.approx((5.0, 0, 0, 16 * 0.5, 6.0))


def test_a_transfer_cuts_the_tail_before_it() -> None:
    assert tailed((1.0, 2.0), (4.0, 5.0)) == pytest.approx((10.0, 0, 0, 13 * 0.5, 2 * 2.0 + 6.0))


def test_a_tail_goes_on_beside_computing() -> None:
    assert tailed((1.0, 2.0), computing=(3.0, 8.0)) == pytest.approx((5.0, 0, 5.0, 13 * 0.5, 6.0))


def test_a_tail_ends_with_the_device() -> None:
    env = simpy.Environment()
    meter = Meter(env, 0.5, RadioTail(2.0, 3.0))
    meter.begin("receive", 1.0)
    env.run(1.0)
    meter.switch(on=False)
    meter.end("receive", 1.0)
    env.run(5.0)
    meter.switch(on=True)
    env.run(6.0)
    assert meter.take() == pytest.approx((0, 1.0, 0, 0.5, 0))


@pytest.mark.parametrize("cause", ["availability", "outage", "memory", "death", "battery"])
def test_a_tail_goes_on_while_a_device_is_away_unless_it_is_off(cause: str) -> None:
    """A tail of 3 s from 1 s on; away from 2 s to 2.5 s, for that cause and for another within."""
    off = cause in ("death", "battery")
    w = world(energy=replace(ENERGY, idle_power_w=ConstantPerUser(0.5), tail=RadioTail(2.0, 3.0)))
    presence = w.network.users[0].presence
    meter = presence.meter
    meter.begin("receive", 1.0)
    w.env.run(1.0)
    meter.end("receive", 1.0)
    for after_s, act in ((1.0, presence.leave), (1.25, presence.come_back)):
        w.at(after_s, partial(act, cause))
        w.at(after_s + 0.125, partial(act, "outage" if cause == "availability" else "availability"))
    w.env.run(10.0)
    tail_j, idle_j = (2.0, 0.5 * 7.75) if off else (6.0, 0.5 * 6.0)
    assert meter.take() == pytest.approx((0, 1.0, 0, idle_j, tail_j))


def test_a_transfer_without_airtime_neither_has_a_tail_nor_cuts_one() -> None:
    env = simpy.Environment()
    meter = Meter(env, 0.5, RadioTail(2.0, 3.0))
    for at_s, length_s in ((0.0, 0.0), (1.0, 1.0), (3.0, 0.0)):
        env.run(at_s) if at_s else None
        meter.begin("transmit", 5.0)
        env.run(at_s + length_s) if length_s else None
        meter.end("transmit", 5.0)
    env.run(10.0)
    assert meter.take() == pytest.approx((5.0, 0, 0, 6 * 0.5, 6.0))


def test_operating_points() -> None:
    """8 GFLOP/s at 4 FLOPs a cycle need 2 GHz: the point at 2.112 GHz and 1.0 V; 2.5e8 cycles at 550 pF V^2."""
    points = OperatingPoints()
    assert points.energy_j(1e9, 8e9) == pytest.approx(550e-12 * 1.0 * 2.5e8)
    assert points.energy_j(1e9, 4 * 0.903e9) == pytest.approx(550e-12 * 0.49 * 2.5e8)
    assert OperatingPoints(static_power_w=0.2).energy_j(1e9, 8e9) == pytest.approx(550e-12 * 2.5e8 + 0.2 / 8)


def test_operating_points_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2e\+10 FLOP/s need a clock of 5e\+09 Hz; the fastest is 2.362e\+09 Hz"):
        OperatingPoints().energy_j(1.0, 2e10)
    with pytest.raises(ValueError, match="2 clocks are given, but 1 voltages"):
        OperatingPoints((1e9, 2e9), (1.0,))
    with pytest.raises(ValueError, match="must ascend"):
        OperatingPoints((2e9, 1e9), (1.0, 1.1))
