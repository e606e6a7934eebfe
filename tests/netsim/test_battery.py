"""Batteries: when they are empty and charged again, by hand; and that no joule is made or lost."""

from dataclasses import replace

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import ENERGY, Process, World, flat_rates_bps, world

from netsim.battery import BatteryDescription
from netsim.energy import RadioTail
from netsim.values import ConstantPerUser, ListedPerUser

TASKS = st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(0, 2), st.floats(0.01, 5.0)), max_size=12)
"""When, what and for how many seconds: computing, sending or receiving."""


def powered(battery: BatteryDescription, users: int = 1) -> World:
    return world(energy=replace(ENERGY, battery=battery), users=users)


def attempt(work: Process, ended: list[float], env: simpy.Environment) -> Process:
    try:
        yield from work
    except simpy.Interrupt:
        ended.append(env.now)


def test_the_instant_of_emptiness_is_exact() -> None:
    """2 s idle at 0.03 W, then computing at 0.1 W: 1 J is gone after 2 + (1 - 0.06) / 0.1 s."""
    cell, ended = powered(BatteryDescription(ConstantPerUser(1.0))), []
    (user,) = cell.network.users

    def work() -> Process:
        yield cell.env.timeout(2.0)
        yield from attempt(user.compute(1e11, "work"), ended, cell.env)

    cell.run(work())
    assert ended == pytest.approx([11.4], rel=1e-14)
    assert user.gone
    cell.env.run(20.0)
    cell.journal.begin_round(0)
    cell.journal.end_round(1, 0)
    (row,) = cell.rows("energy")
    assert row["compute_j"] + row["idle_j"] == pytest.approx(1.0, rel=1e-14)
    assert (row["charge_j"], row["harvested_j"]) == (0.0, 0.0)
    cell.network.record_end()
    outage = {"user": 0, "start_s": pytest.approx(11.4), "end_s": None, "cause": "battery", "site": None}
    assert cell.rows("outages") == [outage]


def test_a_harvesting_device_returns() -> None:
    """Full at 1 J, computing at 0.1 W against 0.05 W of harvest: off after 20 s, back at 0.4 J after 8 s more."""
    cell, ended = powered(BatteryDescription(ConstantPerUser(1.0), harvest_power_w=0.05, returns_at=0.4)), []
    (user,) = cell.network.users
    returned: list[float] = []

    def work() -> Process:
        yield from attempt(user.compute(1e11, "work"), ended, cell.env)
        yield user.back
        returned.append(cell.env.now)
        yield from attempt(user.compute(1e11, "work"), ended, cell.env)

    cell.run(work())
    assert (ended, returned) == (pytest.approx([20.0, 36.0]), pytest.approx([28.0]))
    assert not user.gone


def test_idling_empties_a_battery_and_being_full_wastes_the_sun() -> None:
    cell = powered(
        BatteryDescription(ListedPerUser((0.3, 0.3)), ListedPerUser((1.0, 0.5)), harvest_power_w=0.0), users=2
    )
    cell.env.run(until=cell.env.timeout(7.0))
    assert [user.away for user in cell.network.users] == [False, True]
    sunny = powered(BatteryDescription(ConstantPerUser(0.3), harvest_power_w=1.0))
    sunny.env.run(5.0)
    sunny.journal.begin_round(0)
    sunny.journal.end_round(0, 0)
    (row,) = sunny.rows("energy")
    assert (row["charge_j"], row["harvested_j"]) == pytest.approx((0.3, 0.15))


def test_a_tail_drains_a_battery() -> None:
    """Receiving 1 s at 0.2 W, then a tail of 1 W: 0.7 J are gone at 1.5 s; one of 0.3 s leaves 0.2 J to idle on."""
    _, down_bps = flat_rates_bps(1)
    for duration_s, empty_s in ((2.0, 1.5), (0.3, 1.3 + 0.2 / 0.03)):
        energy = replace(ENERGY, battery=BatteryDescription(ConstantPerUser(0.7)), tail=RadioTail(1.0, duration_s))
        cell = world(energy=energy, users=1)
        cell.run(cell.network.server.send(cell.network.users[0], down_bps, "model"))
        cell.env.run(30.0)
        cell.network.record_end()
        assert cell.rows("outages")[0]["start_s"] == pytest.approx(empty_s)


def test_an_empty_battery_is_empty_from_the_beginning() -> None:
    cell, ended = powered(BatteryDescription(ConstantPerUser(1.0), ConstantPerUser(0.0))), []
    cell.run(attempt(cell.network.users[0].compute(1e9, "work"), ended, cell.env))
    assert ended == [0.0]


@settings(max_examples=60, deadline=None)
@given(TASKS, st.floats(0.05, 3.0), st.floats(0.0, 0.3), st.floats(0.1, 1.0))
def test_no_joule_is_made_or_lost(
    tasks: list[tuple[float, int, float]], capacity_j: float, harvest_w: float, returns_at: float
) -> None:
    law = BatteryDescription(ConstantPerUser(capacity_j), ConstantPerUser(0.7), harvest_w, returns_at)
    cell = powered(law, users=2)
    user, server = cell.network.users[0], cell.network.server

    def work(start_s: float, what: int, length_s: float) -> Process:
        yield cell.env.timeout(start_s)
        job = (
            user.compute(length_s * 1e9, "work"),
            user.send(server, length_s * 1e6, "up"),
            server.send(user, length_s * 1e6, "down"),
        )[what]
        yield from attempt(job, [], cell.env)

    for task in tasks:
        cell.env.process(work(*task))
    charge_j = 0.7 * capacity_j
    for number in range(3):
        cell.journal.begin_round(number)
        cell.env.run(12.0 * (number + 1))
        cell.journal.end_round(1, 0)
    for row in cell.rows("energy"):
        if row["user"] == 0:
            spent_j = row["transmit_j"] + row["receive_j"] + row["compute_j"] + row["idle_j"]
            assert -1e-12 <= row["charge_j"] <= capacity_j
            assert row["harvested_j"] >= -1e-12
            assert row["harvested_j"] <= harvest_w * 12.0 + 1e-9
            assert charge_j + row["harvested_j"] - spent_j == pytest.approx(row["charge_j"], abs=1e-9)
            charge_j = row["charge_j"]


def test_batteries_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="the battery of user 0 holds 0 J; it must be positive"):
        powered(BatteryDescription(ConstantPerUser(0.0)))
    with pytest.raises(ValueError, match=r"the initial charge of user 0 is 1\.5; 0 to 1 is allowed"):
        powered(BatteryDescription(ConstantPerUser(1.0), ConstantPerUser(1.5)))
