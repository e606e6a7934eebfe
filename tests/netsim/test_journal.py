"""The journal: rounds, evaluations and decisions become rows, and observers hear of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from worlds import Process, World, flat_rates_bps, world

from netsim.description import ComputeDescription, DevicesDescription, StragglersDescription
from netsim.slowdown import ListedSlowdowns
from netsim.values import ConstantPerUser


class Heard:
    def __init__(self) -> None:
        self.rounds: list[Mapping[str, Any]] = []
        self.evaluations: list[Mapping[str, Any]] = []

    def round_ended(self, row: Mapping[str, Any]) -> None:
        self.rounds.append(row)

    def evaluated(self, row: Mapping[str, Any]) -> None:
        self.evaluations.append(row)


def two_rounds(w: World) -> Process:
    for number in (0, 1):
        w.journal.begin_round(number)
        yield from w.network.server.broadcast(w.network.users, 1e6, "model")
        jobs = [w.env.process(user.compute(1e9 * (1 + user.number), "step")) for user in w.network.users]
        yield w.env.all_of(jobs)
        yield from w.network.users[0].send(w.network.server, 2e6, "update")
        w.journal.end_round(2, number, staleness_mean=0.5 * number)


def test_rounds_add_up() -> None:
    w = world()
    up_bps, down_bps = flat_rates_bps(2)
    w.run(two_rounds(w))
    latency_s = 1e6 / (2 * down_bps) + 2.0 + 2e6 / up_bps
    first, second = w.rows("rounds")
    assert [first["latency_s"], second["latency_s"]] == pytest.approx([latency_s] * 2, rel=1e-9)
    assert (second["start_s"], second["round"]) == (first["end_s"], 1)
    assert (first["uplink_bits"], first["downlink_bits"]) == pytest.approx((2e6, 1e6))
    assert [(r["participants"], r["dropped"], r["staleness_mean"]) for r in (first, second)] == [(2, 0, 0), (2, 1, 0.5)]
    assert [row["round"] for row in w.rows("transfers")] == [0, 0, 0, 1, 1, 1]


def test_energy_of_rounds_is_the_energy_of_their_rows_and_idling() -> None:
    w = world()
    w.run(two_rounds(w))
    rows = w.rows("energy")
    assert [(row["round"], row["user"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for round_row in w.rows("rounds"):
        spent = [row for row in rows if row["round"] == round_row["round"]]
        total = sum(row[f"{what}_j"] for row in spent for what in ("transmit", "receive", "compute", "idle"))
        assert round_row["energy_j"] == pytest.approx(total, rel=1e-12)
        assert {(row["start_s"], row["end_s"]) for row in spent} == {(round_row["start_s"], round_row["end_s"])}
    up_bps, down_bps = flat_rates_bps(2)
    receive_s, send_s = 1e6 / (2 * down_bps), 2e6 / up_bps
    assert list(rows[0].values())[4:8] == pytest.approx([send_s * 0.3, receive_s * 0.2, 0.1, 0.03 * 1.0], rel=1e-9)
    assert list(rows[1].values())[4:8] == pytest.approx([0, receive_s * 0.2, 0.2, 0.03 * send_s], rel=1e-9)


def test_the_critical_path_of_a_round() -> None:
    w = world()
    w.run(two_rounds(w))
    path = [row for row in w.rows("critical_path") if row["round"] == 1]
    assert [(row["position"], row["user"], row["kind"], row["cause"]) for row in path] == [
        (0, 1, "model", "airtime"),
        (1, 1, "step", "compute"),
        (2, 0, "update", "airtime"),
    ]
    assert sum(row["duration_s"] for row in path) == pytest.approx(w.rows("rounds")[1]["latency_s"], abs=1e-9)


def test_what_goes_faster_than_nominal_is_all_computing() -> None:
    compute = ComputeDescription(stragglers=StragglersDescription(ListedSlowdowns((0.5, 2.0))))
    w = world(compute=replace(compute, devices=DevicesDescription(ConstantPerUser(1e9))))

    def scheme() -> Process:
        for number, user in enumerate(w.network.users):
            w.journal.begin_round(number)
            yield from user.compute(1e9, "step")
            w.journal.end_round(1, 0)

    w.run(scheme())
    assert [(r["round"], r["cause"], r["duration_s"]) for r in w.rows("critical_path")] == [
        (0, "compute", 0.5),
        (1, "compute", 1.0),
        (1, "straggle", 1.0),
    ]


def test_work_across_the_end_of_a_round_is_charged_to_each_round_by_time() -> None:
    w = world()

    def scheme() -> Process:
        w.journal.begin_round(0)
        late = w.env.process(w.network.users[0].compute(3e9, "step"))
        yield w.env.timeout(1.0)
        w.journal.end_round(1, 1)
        w.journal.begin_round(1)
        yield late
        w.journal.end_round(2, 0)

    w.run(scheme())
    assert [row["compute_j"] for row in w.rows("energy") if row["user"] == 0] == pytest.approx([0.1, 0.2])
    assert [row["round"] for row in w.rows("computations")] == [0]
    assert [(r["round"], r["cause"], r["start_s"], r["end_s"]) for r in w.rows("critical_path")] == [
        (0, "wait", 0, 1),
        (1, "compute", 1, 3),
    ]


def test_observers_hear_what_is_written() -> None:
    w, heard = world(), Heard()
    w.journal.observers.append(heard)
    w.run(two_rounds(w))
    w.journal.evaluation("test", "accuracy", 0.9, 100, round=1, time_s=3.5)
    assert heard.rounds == w.rows("rounds")
    assert heard.evaluations == w.rows("evaluations")
    assert heard.evaluations[0] == {
        "round": 1,
        "time_s": 3.5,
        "split": "test",
        "metric": "accuracy",
        "value": 0.9,
        "samples": 100,
        "user": None,
    }


def test_decisions_belong_to_the_round() -> None:
    w = world()
    w.journal.decision(None, "before", 1.0)
    w.journal.begin_round(3)
    w.journal.decision(1, "cut", 2.0)
    assert [tuple(row.values()) for row in w.rows("decisions")] == [(-1, None, "before", 1.0), (3, 1, "cut", 2.0)]


def test_rounds_that_do_not_alternate_are_refused() -> None:
    w = world()
    with pytest.raises(RuntimeError, match="has not begun"):
        w.journal.end_round(0, 0)
    w.journal.begin_round(0)
    with pytest.raises(RuntimeError, match="round 1 begins, but round 0 has not ended"):
        w.journal.begin_round(1)
