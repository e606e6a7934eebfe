"""Processors: first come first served before c slots, interruptions, energy; Lindley's recursion as the oracle."""

import heapq

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from worlds import Process, World, world

from netsim.description import ComputeDescription, DevicesDescription, ServersDescription, StragglersDescription
from netsim.slowdown import ListedSlowdowns
from netsim.values import ConstantPerUser


def server_world(slots: int) -> World:
    return world(compute=ComputeDescription(DevicesDescription(ConstantPerUser(1e9)), ServersDescription(1.0, slots)))


def job(w: World, start_s: float, flops: float, patience_s: float | None = None) -> Process:
    yield w.env.timeout(start_s)
    work = w.env.process(given_up(w, flops))
    if patience_s is not None:
        yield work | w.env.timeout(patience_s)
        if work.is_alive:
            work.interrupt("enough")
    yield work


def given_up(w: World, flops: float) -> Process:
    try:
        yield from w.network.server.compute(flops, "job")
    except simpy.Interrupt:
        return


def test_one_slot_serves_in_order_of_arrival() -> None:
    w = server_world(slots=1)
    w.run(job(w, 0, 5), job(w, 1, 1), job(w, 2, 2))
    assert [(r["start_s"], r["wait_s"], r["service_s"], r["end_s"]) for r in w.rows("computations")] == [
        (0, 0, 5, 5),
        (1, 4, 1, 6),
        (2, 4, 2, 8),
    ]


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 5)), min_size=1, max_size=12, unique_by=lambda one: one[0]),
    st.integers(1, 4),
)
def test_slots_against_the_recursion(jobs: list[tuple[float, float]], slots: int) -> None:
    """A job begins when it arrives or when the slot that is free first is free (Kiefer and Wolfowitz 1955)."""
    w = server_world(slots)
    w.run(*(job(w, *one) for one in jobs))
    free_s = [0.0] * slots
    expected = []
    for start_s, flops in sorted(jobs):
        end_s = max(start_s, heapq.heappop(free_s)) + flops
        heapq.heappush(free_s, end_s)
        expected.append((start_s, end_s))
    rows = sorted((row["start_s"], row["end_s"]) for row in w.rows("computations"))
    assert rows == [pytest.approx(one, rel=1e-12) for one in expected]
    for row in w.rows("computations"):
        assert row["end_s"] - row["start_s"] == pytest.approx(row["wait_s"] + row["service_s"], abs=1e-9)


def test_interrupted_at_work_frees_the_slot() -> None:
    w = server_world(slots=1)
    w.run(job(w, 0, 5, patience_s=2), job(w, 1, 1))
    given_up_row, served = w.rows("computations")
    assert (given_up_row["interrupted"], given_up_row["service_s"], given_up_row["end_s"]) == (True, 2, 2)
    assert (served["interrupted"], served["wait_s"], served["end_s"]) == (False, 1, 3)


def test_interrupted_in_the_queue_leaves_it() -> None:
    w = server_world(slots=1)
    w.run(job(w, 0, 5), job(w, 1, 1, patience_s=2), job(w, 2, 1))
    rows = sorted(w.rows("computations"), key=lambda row: row["start_s"])
    assert [(r["interrupted"], r["wait_s"], r["service_s"]) for r in rows] == [
        (False, 0, 5),
        (True, 2, 0),
        (False, 3, 1),
    ]


def test_a_device_takes_flops_over_speed_times_slowdown() -> None:
    compute = ComputeDescription(
        DevicesDescription(ConstantPerUser(1e9)), stragglers=StragglersDescription(ListedSlowdowns((1.0, 2.5)))
    )
    w = world(compute=compute)
    w.run(*(user.compute(2e9, "step", memory_bytes=77) for user in w.network.users))
    rows = w.rows("computations")
    assert [(r["user"], r["service_s"], r["slowdown"]) for r in rows] == [(0, 2.0, 1.0), (1, 5.0, 2.5)]
    assert [r["energy_j"] for r in rows] == pytest.approx([0.2, 0.2])  # a slowdown stretches, it does not cost
    assert {(r["node"], r["node_kind"], r["memory_bytes"]) for r in rows} == {
        ("user0", "user", 77),
        ("user1", "user", 77),
    }


def test_an_interrupted_job_costs_its_part() -> None:
    w = world()
    user = w.network.users[0]
    work = w.env.process(user.compute(4e9, "step"))
    w.at(1.0, work.interrupt)
    with pytest.raises(simpy.Interrupt):
        w.env.run(work)
    (row,) = w.rows("computations")
    assert row["energy_j"] == pytest.approx(0.1)
    assert user.processor.meter is not None
    assert user.processor.meter.take().compute_j == pytest.approx(0.1)


def test_the_server_names_whom_it_serves() -> None:
    w = world()
    w.run(w.network.server.compute(1e11, "a", user=1), w.network.server.compute(1e11, "b"))
    assert [(r["user"], r["node"], r["energy_j"]) for r in w.rows("computations")] == [
        (1, "server", None),
        (None, "server", None),
    ]


def test_counts_beyond_what_a_double_holds_exactly() -> None:
    w = world()
    w.run(w.network.server.compute(10**17 + 1, "job"), w.network.users[0].send(w.network.server, 1, "x"))
    assert w.rows("computations")[0]["flops"] == 1e17


def test_nothing_to_compute_takes_no_time_and_leaves_no_row() -> None:
    w = world()
    w.run(w.network.users[0].compute(0, "step"))
    assert w.env.now == 0
    assert w.rows("computations") == []


@pytest.mark.parametrize("flops", [-1.0, float("nan")])
def test_impossible_work_is_refused(flops: float) -> None:
    w = world()
    with pytest.raises(ValueError, match="cannot be computed"):
        w.run(w.network.users[0].compute(flops, "step"))
