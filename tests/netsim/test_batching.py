"""Batches of jobs: closed forms with regular arrivals, renewals with Poisson arrivals, first come first served at 0."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import ENERGY, Process, World, flat_compute, world

from netsim.description import BackhaulDescription, RequestStream, TrafficDescription
from netsim.energy import JoulesPerFlop
from netsim.queueing import Batching, Discipline, Fifo
from netsim.traffic import PoissonArrivals
from netsim.traffic.requests import Traffic
from netsim.traffic.sizes import ConstantSize
from netsim.values import ConstantPerUser
from stats import assert_mean

BANDWIDTH = 10.0
"""Bytes per second from memory."""


def served_by(discipline: Discipline, slots: int = 1, capacity: int | None = None) -> World:
    """A server of 1 FLOP/s and 10 byte/s a slot."""
    servers = replace(
        flat_compute().servers,
        flops_per_s=1.0,
        slots=slots,
        discipline=discipline,
        capacity=capacity,
        memory_bandwidth_bytes_per_s=BANDWIDTH,
    )
    return world(
        compute=replace(flat_compute(), servers=servers), energy=replace(ENERGY, server_compute=JoulesPerFlop(3.0))
    )


def job(
    w: World,
    start_s: float,
    flops: float,
    weights_bytes: Mapping[str, float] | None = None,
    kind: str = "job",
    patience_s: float | None = None,
) -> Process:
    def work() -> Process:
        try:
            yield from w.network.server.compute(flops, kind, weights_bytes=weights_bytes or {})
        except simpy.Interrupt:
            return

    yield w.env.timeout(start_s)
    process = w.env.process(work())
    if patience_s is not None:
        yield process | w.env.timeout(patience_s)
        if process.is_alive:
            process.interrupt()
    yield process


def rows(w: World) -> list[dict[str, Any]]:
    return sorted(w.rows("computations"), key=lambda row: row["start_s"])


@pytest.mark.parametrize("interval_s", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("window_s", [1.0, 2.5])
def test_regular_arrivals(interval_s: float, window_s: float) -> None:
    """Batches of n = floor(w / a) + 1 jobs, the last of which ends n F / f after the window of the first."""
    flops, jobs = 0.01, 12
    w = served_by(Batching(window_s))
    w.run(*(job(w, number * interval_s, flops) for number in range(jobs)))
    n = int(window_s // interval_s) + 1
    for number, row in enumerate(rows(w)):
        first = number // n * n
        size = min(n, jobs - first)
        end_s = first * interval_s + window_s + size * flops
        assert row["end_s"] == pytest.approx(end_s, rel=1e-12)
        assert row["service_s"] == pytest.approx(flops, rel=1e-12)
        assert row["wait_s"] == pytest.approx(end_s - number * interval_s - flops, rel=1e-12)


def test_weights_are_read_once_for_a_batch() -> None:
    """Two jobs of expert a and one of a and b: 3 FLOPs in 3 s, 40 + 60 bytes in 10 s, and not 40 + 40 + 100 in 18."""
    w = served_by(Batching(1.0))
    a, b = {"a": 40.0}, {"b": 60.0}
    w.run(job(w, 0.0, 1.0, a), job(w, 0.25, 1.0, a), job(w, 0.5, 1.0, a | b))
    found = rows(w)
    assert [row["end_s"] for row in found] == [pytest.approx(11.0)] * 3
    assert [row["service_s"] for row in found] == pytest.approx([10 * 4 / 18, 10 * 4 / 18, 10 * 10 / 18])
    assert [row["energy_j"] for row in found] == pytest.approx([3.0] * 3)  # by its FLOPs, however long it takes


def test_work_of_a_batch_adds_up() -> None:
    """Ten jobs of 2 FLOPs with the weights of one expert, 40 bytes: 20 s of work, and the 4 s of reading overlap."""
    w = served_by(Batching(1.0))
    w.run(*(job(w, 0.0, 2.0, {"a": 40.0}) for _ in range(10)))
    assert {row["end_s"] for row in rows(w)} == {21.0}


def test_other_kinds_have_other_batches() -> None:
    w = served_by(Batching(1.0))
    w.run(job(w, 0.0, 1.0, kind="a"), job(w, 0.5, 1.0, kind="b"), job(w, 0.75, 1.0, kind="a"))
    assert [(row["kind"], row["end_s"]) for row in rows(w)] == [("a", 3.0), ("b", 4.0), ("a", 3.0)]


def test_a_full_batch_does_not_wait_for_its_window() -> None:
    w = served_by(Batching(10.0, max_jobs=2))
    w.run(job(w, 0.0, 1.0), job(w, 1.0, 1.0), job(w, 2.0, 1.0))
    assert [row["end_s"] for row in rows(w)] == [3.0, 3.0, 13.0]


def test_slots_serve_batches_side_by_side() -> None:
    w = served_by(Batching(1.0, max_jobs=2), slots=2)
    w.run(*(job(w, 0.0, 1.0) for _ in range(6)))
    assert sorted(row["end_s"] for row in rows(w)) == [2.0] * 4 + [4.0] * 2


def test_a_job_given_up_before_service_takes_its_work_along() -> None:
    w = served_by(Batching(1.0))
    w.run(job(w, 0.0, 1.0, {"a": 5.0}), job(w, 0.25, 8.0, {"b": 900.0}, patience_s=0.5))
    done, gone = rows(w)
    assert (done["end_s"], done["service_s"], done["interrupted"]) == (2.0, 1.0, False)
    assert (gone["end_s"], gone["service_s"], gone["wait_s"], gone["interrupted"]) == (0.75, 0.0, 0.5, True)


def test_a_job_given_up_in_service_does_not_shorten_the_batch() -> None:
    w = served_by(Batching(1.0))
    w.run(job(w, 0.0, 1.0), job(w, 0.5, 3.0, patience_s=2.5), job(w, 2.0, 1.0))
    done, gone, later = rows(w)
    assert (done["end_s"], done["wait_s"], done["service_s"]) == (5.0, 4.0, 1.0)
    assert (gone["end_s"], gone["wait_s"], gone["service_s"]) == (3.0, 1.0, 1.5)  # its 3 / 4 of the half that was done
    assert gone["energy_j"] == pytest.approx(4.5)
    assert later["end_s"] == 6.0


def test_a_batch_without_jobs_frees_its_slot() -> None:
    w = served_by(Batching(1.0))
    w.run(job(w, 0.0, 100.0, patience_s=2.0), job(w, 1.5, 1.0), job(w, 1.6, 1.0, patience_s=0.2))
    assert w.network.server.processor.queue.present == 0
    assert [row["end_s"] for row in rows(w)] == [2.0, 3.5, 1.8]


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.floats(0.01, 3), st.sampled_from("abc"), st.none() | st.floats(0.1, 4)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 3),
    st.floats(0.1, 3),
    st.integers(2, 4) | st.none(),
)
@settings(deadline=None)
def test_storms(jobs: list[tuple[float, float, str, float | None]], slots: int, window_s: float, most: int) -> None:
    """Each job ends once, nothing is left behind, and a slot does not serve more than one second in a second."""
    w = served_by(Batching(window_s, most), slots)
    w.run(*(job(w, start, flops, {name: 4.0}, name, patience) for start, flops, name, patience in jobs))
    found = rows(w)
    assert len(found) == len(jobs)
    assert w.network.server.processor.queue.present == 0
    assert sum(row["service_s"] for row in found) <= slots * w.env.now + 1e-9
    for row in found:
        assert row["wait_s"] + row["service_s"] == pytest.approx(row["end_s"] - row["start_s"], abs=1e-9)
        assert row["wait_s"] >= -1e-12
        assert row["interrupted"] or row["service_s"] <= max(row["flops"], 0.4) + 1e-9  # never more than alone


@pytest.mark.parametrize("discipline", [Batching(0.0), Batching(2.0, max_jobs=1)])
@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.01, 3), st.none() | st.floats(0.1, 4)), min_size=1, max_size=10))
@settings(deadline=None, max_examples=50)
def test_no_window_is_first_come_first_served(
    discipline: Batching, jobs: list[tuple[float, float, float | None]]
) -> None:
    ours, fifo = served_by(discipline, 2), served_by(Fifo(), 2)
    for w in (ours, fifo):
        w.run(*(job(w, start, flops, {"a": 4.0}, patience_s=patience) for start, flops, patience in jobs))
    assert ours.rows("computations") == fifo.rows("computations")


def test_poisson_arrivals() -> None:
    """Windows of w s are a renewal process: a batch has 1 + N jobs, N Poisson of mean r w, that wait w and w / 2 each.

    So the mean wait is (w + r w w / 2) / (1 + r w); service takes no time here.
    """
    rate, window_s = 3.0, 0.5
    servers = replace(flat_compute().servers, flops_per_s=1e12, discipline=Batching(window_s))
    w = world(compute=replace(flat_compute(), servers=servers), users=1)
    stream = RequestStream(PoissonArrivals(ConstantPerUser(rate)), flops=ConstantSize(1.0))
    w.run(Traffic(w.network, TrafficDescription({"x": stream}, duration_s=2000.0)).run(None))
    found = w.table("computations").to_pandas()
    batches = found.groupby("end_s")["wait_s"]
    assert_mean(batches.size(), 1 + rate * window_s)
    # A ratio of means over independent batches: the sum of what is left over after its expectation has mean zero.
    expected_s = (window_s + rate * window_s**2 / 2) / (1 + rate * window_s)
    assert_mean(batches.sum() - expected_s * batches.size(), 0.0)
    assert np.isclose(batches.max(), window_s, atol=1e-9).all()


def test_capacity_counts_jobs_and_not_batches() -> None:
    w = served_by(Batching(1.0), capacity=2)

    def refusable(start_s: float) -> Process:
        yield w.env.timeout(start_s)
        yield from w.network.server.processor.compute(1.0, "request", 0, None, refusable=True)

    w.run(job(w, 0.0, 1.0), job(w, 0.0, 1.0))
    for start_s, full in ((0.0, False), (0.1, False), (0.2, True)):
        process = w.env.process(refusable(start_s))
        if full:
            with pytest.raises(Exception, match="no room for more than 2 jobs"):
                w.env.run(process)


def test_the_backhaul_sends_no_batches() -> None:
    with pytest.raises(ValueError, match="messages are not sent in batches"):
        BackhaulDescription(discipline=Batching(1.0))
