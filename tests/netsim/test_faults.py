"""Devices that go away in the midst of what they do: rows by hand, laws by their statistics."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import exp, gamma, inf
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import simpy
from pyarrow import csv
from worlds import Process, World, flat_network, flat_rates_bps, world

from netsim.description import FaultsDescription
from netsim.exogenous import ExogenousEvents
from netsim.faults import DailyAvailability, OnOffAvailability, Outage, RecordedAvailability
from netsim.faults.availability import Span, weibull_s
from netsim.faults.outages import merged
from netsim.streams import Streams
from netsim.values import ListedPerUser
from stats import assert_mean, assert_proportion


def faulty(*outages: Outage, users: int = 2, **faults: object) -> World:
    network = replace(flat_network(users), faults=FaultsDescription(outages=outages, **faults))  # type: ignore[arg-type]
    return world(network, users=users)


def attempt(work: Process, log: list[str]) -> Process:
    try:
        yield from work
    except simpy.Interrupt as interrupt:
        log.append(interrupt.cause)


def until(spans: Iterator[Span], end_s: float) -> list[Span]:
    found = []
    for span in spans:
        if span[0] >= end_s:
            return found
        found.append(span)
    return found


def test_a_transfer_is_given_up_when_its_device_goes_away() -> None:
    up_bps, _ = flat_rates_bps(2)
    cell, log = faulty(Outage(0, 2.0, 5.0)), []
    user, server = cell.network.users[0], cell.network.server
    cell.run(attempt(user.send(server, 10 * up_bps, "model"), log))
    (row,) = cell.rows("transfers")
    assert (log, cell.env.now, row["end_s"]) == (["user 0 is away"], 2.0, 2.0)
    assert row["lost"] == pytest.approx(8 * up_bps)
    cell.env.run(5.5)
    assert not user.away
    cell.run(user.send(server, up_bps, "model"))  # nothing is held from before
    assert cell.env.now == pytest.approx(6.5)
    assert cell.rows("outages") == [{"user": 0, "start_s": 2.0, "end_s": 5.0, "cause": "outage", "site": None}]


def test_a_job_is_given_up_and_the_others_go_on() -> None:
    cell, log = faulty(Outage(0, 2.0)), []
    cell.run(*(attempt(user.compute(4e9, "work"), log) for user in cell.network.users))
    first, second = cell.rows("computations")
    assert log == ["user 0 is away"]
    assert (first["interrupted"], first["service_s"], first["energy_j"]) == (True, 2.0, pytest.approx(0.2))
    assert (second["interrupted"], second["service_s"]) == (False, 4.0)
    assert cell.network.users[0].gone
    cell.network.record_end()
    assert cell.rows("outages") == [{"user": 0, "start_s": 2.0, "end_s": None, "cause": "death", "site": None}]


def test_what_the_server_does_for_a_device_is_given_up_where_it_is_the_devices_own_work() -> None:
    cell, log = faulty(Outage(0, 2.0, 3.0)), []
    user, server = cell.network.users[0], cell.network.server
    cell.run(attempt(user.attend(server.compute(5e11, "step", user=0)), log), server.compute(1e11, "step", user=1))
    assert [row["end_s"] for row in cell.rows("computations")] == [2.0, 3.0]
    assert log == ["user 0 is away"]


def test_nothing_begins_with_a_device_that_is_away() -> None:
    cell, log = faulty(Outage(0, 0.0, 1.0)), []
    user, server = cell.network.users[0], cell.network.server
    for work in (user.send(server, 1e6, "model"), user.compute(1e9, "work"), server.send(user, 1e6, "model")):
        cell.run(attempt(work, log))
    assert (log, cell.env.now) == (["user 0 is away"] * 3, 0.0)
    assert cell.rows("transfers") == cell.rows("computations") == []


def test_a_broadcast_leaves_out_who_is_away_and_goes_on_without_who_leaves() -> None:
    _, down_bps = flat_rates_bps(4)
    cell = faulty(Outage(0, 0.0, 9.0), Outage(1, 1.0, 9.0), users=4)
    reached: list[int] = []

    def run() -> Process:
        heard = yield from cell.network.server.broadcast(cell.network.users, 2 * 3 * down_bps, "model")
        reached.extend(user.number for user in heard)

    cell.run(run())
    rows = {row["user"]: row for row in cell.rows("transfers")}
    assert reached == [2, 3]
    assert {user: row["end_s"] for user, row in rows.items()} == pytest.approx({1: 1.0, 2: 2.0, 3: 2.0})
    assert {user: row["lost"] for user, row in rows.items()} == pytest.approx({1: 3 * down_bps, 2: 0, 3: 0})
    cell.journal.meters[1].take()
    assert rows[1]["energy_j"] == pytest.approx(0.2)


def test_a_broadcast_ends_when_its_last_receiver_leaves() -> None:
    cell = faulty(Outage(0, 1.0, 3.0), Outage(1, 2.0, 3.0))
    cell.run(cell.network.server.broadcast(cell.network.users, 1e12, "model"))
    assert cell.env.now == 2.0
    assert [row["end_s"] for row in cell.rows("transfers")] == [1.0, 2.0]


def test_a_receiver_may_leave_while_a_broadcast_waits_for_its_radio() -> None:
    _, down_bps = flat_rates_bps(2)
    cell, log = faulty(Outage(0, 1.0, 3.0)), []
    server, (first, second) = cell.network.server, cell.network.users
    cell.run(attempt(server.send(first, 5 * down_bps, "x"), log), server.broadcast([first, second], down_bps, "y"))
    rows = {(row["kind"], row["user"]): row for row in cell.rows("transfers")}
    assert rows["y", 0]["attempts"] == 0
    assert rows["y", 0]["lost"] == down_bps
    assert rows["y", 1]["start_s"] + rows["y", 1]["wait_s"] == 1.0


def test_a_receiver_that_left_a_broadcast_may_leave_again() -> None:
    _, down_bps = flat_rates_bps(2)
    cell = faulty(Outage(0, 1.0, 2.0), Outage(0, 3.0, 4.0))
    cell.run(cell.network.server.broadcast(cell.network.users, 2 * 5 * down_bps, "model"))
    assert [(row["user"], row["end_s"]) for row in cell.rows("transfers")] == [(0, 1.0), (1, pytest.approx(5.0))]


def test_background_ends_with_the_world() -> None:
    """Devices come and go for ever, and yet the world comes to an end when nobody waits."""
    cell = faulty(availability=OnOffAvailability(1.0, 1.0))
    cell.env.run()
    assert cell.env.peek() == inf
    waiting = ExogenousEvents(simpy.Environment())
    waiting.awaited.append(lambda: True)
    reached = []
    waiting.follow(reached.append(at) or float(at) for at in range(1, 4))  # type: ignore[func-returns-value]
    waiting.env.run()
    assert (reached, waiting.env.now) == ([1, 2, 3], 3.0)


def test_an_earlier_appointment_comes_first() -> None:
    env, seen = simpy.Environment(), []
    exogenous = ExogenousEvents(env)
    exogenous.awaited.append(lambda: True)
    for instant_s in (5.0, 2.0, 7.0, 1.0):
        exogenous.at(instant_s, lambda: seen.append(env.now))
    env.run()
    assert seen == [1.0, 2.0, 5.0, 7.0]


@pytest.mark.parametrize(("on_shape", "off_shape"), [(1.0, 1.0), (0.6, 2.0)])
def test_on_off_is_in_equilibrium_at_any_instant(on_shape: float, off_shape: float) -> None:
    law = OnOffAvailability(3.0, 1.0, on_shape, off_shape)
    users = [until(spans, 40.0) for spans in law.away(2000, Streams(5))]
    for instant_s in (0.0, 0.5, 4.0, 37.0):
        away = sum(any(low <= instant_s < high for low, high in spans) for spans in users)
        assert_proportion(away, 2000, 0.25)
    assert all(a[1] < b[0] for spans in users for a, b in pairwise(spans))


def test_on_off_from_the_beginning() -> None:
    spans = [next(each) for each in OnOffAvailability(3.0, 1.0, start="on").away(4000, Streams(5))]
    assert_mean([low for low, _ in spans], 3.0)
    assert_mean([high - low for low, high in spans], 1.0)


def test_weibull_times() -> None:
    chances = np.random.default_rng(1).uniform(size=4000)
    times = [weibull_s(2.0, 0.7, chance) for chance in chances.tolist()]
    assert_mean(times, 2.0)
    scale = 2.0 / gamma(1 + 1 / 0.7)
    assert_proportion(sum(time > 3.0 for time in times), 4000, exp(-((3.0 / scale) ** 0.7)))


def test_days() -> None:
    early, late = DailyAvailability(ListedPerUser((5.0, 20.0)), away_for_s=8.0, day_s=24.0).away(2, Streams(1))
    assert [span for span in until(early, 50.0) if span[1] > 0] == [(5.0, 13.0), (29.0, 37.0)]
    assert [span for span in until(late, 50.0) if span[1] > 0] == [(-4.0, 4.0), (20.0, 28.0), (44.0, 52.0)]


def test_recorded(tmp_path: Path) -> None:
    table = pa.table({"user": [7, 3, 7, 3, 7], "time_s": [4.0, 0.0, 1.0, 2.0, 6.0], "state": [1, 0, 0, 1, 0]})
    csv.write_csv(table, tmp_path / "seen.csv")
    file = str(tmp_path / "seen.csv")
    once = [list(spans) for spans in RecordedAvailability(file).away(2, Streams(1))]
    assert once == [[(0.0, 2.0)], [(1.0, 4.0), (6.0, inf)]]
    again = [until(spans, 18.0) for spans in RecordedAvailability(file, repeat_s=8.0).away(2, Streams(1))]
    assert again == [[(0, 2), (8, 10), (16, 18)], [(1, 4), (6, 8), (9, 12), (14, 16), (17, 20)]]
    with pytest.raises(ValueError, match="records 2 users, but there are 3"):
        RecordedAvailability(file).away(3, Streams(1))
    csv.write_csv(table.set_column(2, "state", pa.array([1, 0, 2, 1, 0])), tmp_path / "seen.csv")
    with pytest.raises(ValueError, match="must hold 1"):
        RecordedAvailability(file).away(2, Streams(1))


def test_spans_are_merged() -> None:
    assert list(merged([(3, 5), (0, 1), (4, 6), (1, 2), (9, inf)])) == [(0, 2), (3, 6), (9, inf)]


def test_lifetimes() -> None:
    cell = faulty(users=300, mean_lifetime_s=2.0, lifetime_shape=1.0)
    cell.env.run(3.0)
    assert_proportion(sum(user.gone for user in cell.network.users), 300, 1 - exp(-1.5))
    assert all(user.away == user.gone for user in cell.network.users)


def test_an_outage_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="an outage is listed for user 2, but there are 2 users"):
        faulty(Outage(2, 1.0))
    with pytest.raises(ValueError, match=r"until_s \(1\) must come after from_s \(1\)"):
        Outage(0, 1.0, 1.0)
