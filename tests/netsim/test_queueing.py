"""Disciplines: processor sharing beside small steps of time, priorities beside a search, room, and giving up."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Process, World, flat_compute, world

from netsim.agenda import SPARE
from netsim.queueing import DISCIPLINES, Discipline, Fifo, Job, Priority, ProcessorSharing, QueueFull, Sharing

ARRIVALS = st.lists(
    st.tuples(st.floats(0, 10), st.floats(0.01, 5)), min_size=1, max_size=12, unique_by=lambda one: one[0]
)


def served_by(discipline: Discipline, slots: int = 1, capacity: int | None = None) -> World:
    """A server of 1 FLOP/s a slot: a job takes as many seconds as it has FLOPs."""
    servers = replace(flat_compute().servers, flops_per_s=1.0, slots=slots, discipline=discipline, capacity=capacity)
    return world(compute=replace(flat_compute(), servers=servers))


def job(w: World, start_s: float, flops: float, kind: str = "job", user: int | None = None) -> Process:
    yield w.env.timeout(start_s)
    yield from w.network.server.compute(flops, kind, 0, user)


def impatient(w: World, start_s: float, flops: float, patience_s: float) -> Process:
    def work() -> Process:
        try:
            yield from w.network.server.compute(flops, "impatient")
        except simpy.Interrupt:
            return

    yield w.env.timeout(start_s)
    process = w.env.process(work())
    yield process | w.env.timeout(patience_s)
    if process.is_alive:
        process.interrupt()
    yield process


def shared(jobs: Sequence[tuple[float, float]], slots: int) -> list[float]:
    """When jobs (arrival, work) end that share slots: from change to change of who is there, in plain floats."""
    left = dict(enumerate(work for _, work in jobs))
    ends_s, now_s = [0.0] * len(jobs), 0.0
    while left:
        here = [job for job in left if jobs[job][0] <= now_s]
        coming_s = min((jobs[job][0] for job in left if jobs[job][0] > now_s), default=float("inf"))
        speed = min(1.0, slots / len(here)) if here else 0.0
        shortest = min((left[job] for job in here), default=float("inf"))
        step_s = min(coming_s - now_s, shortest / speed if here else float("inf"))
        for job in here:
            left[job] -= speed * step_s
            if left[job] <= 1e-12:
                ends_s[job] = now_s + step_s
                del left[job]
        now_s = coming_s if step_s == coming_s - now_s else now_s + step_s
    return ends_s


@given(ARRIVALS, st.integers(1, 4))
@settings(deadline=None)
def test_processor_sharing_beside_steps_of_time(jobs: list[tuple[float, float]], slots: int) -> None:
    w = served_by(ProcessorSharing(), slots)
    w.run(*(job(w, *one) for one in jobs))
    expected = sorted((start_s, end_s) for (start_s, _), end_s in zip(jobs, shared(jobs, slots), strict=True))
    rows = sorted(w.rows("computations"), key=lambda row: row["start_s"])
    assert [(row["start_s"], row["end_s"]) for row in rows] == [pytest.approx(one, rel=1e-9) for one in expected]
    for row in rows:
        assert row["service_s"] == pytest.approx(row["flops"], rel=1e-12)
        assert row["wait_s"] + row["service_s"] == pytest.approx(row["end_s"] - row["start_s"], abs=1e-12)


def test_jobs_that_come_together_share_and_go_together() -> None:
    w = served_by(ProcessorSharing())
    w.run(*(job(w, 1, 2) for _ in range(3)))
    assert [(row["end_s"], row["wait_s"], row["service_s"]) for row in w.rows("computations")] == [(7, 4, 2)] * 3


def test_jobs_given_up_leave_nothing_behind() -> None:
    """A thousand jobs of a day each are given up after a second, beside one that stays."""
    env = simpy.Environment()
    queue = Sharing(env, 1)

    def served(patience_s: float) -> Process:
        job = env.process(queue.serve(0, Job("x", 86_400.0)))
        yield env.timeout(patience_s)
        job.interrupt()

    def all_of_them() -> Process:
        env.process(queue.serve(0, Job("x", 86_400.0)))
        for _ in range(1000):
            yield env.process(served(1.0))

    env.run(env.process(all_of_them()))
    assert queue.present == 1
    assert len(queue._ends) <= 1 + SPARE


def test_a_job_given_up_leaves_its_share_to_the_others() -> None:
    w = served_by(ProcessorSharing())
    w.run(job(w, 0, 3), impatient(w, 1, 9, patience_s=2))
    gone, done = w.rows("computations")
    assert (gone["interrupted"], gone["end_s"], gone["service_s"], gone["wait_s"]) == (True, 3, 1, 1)
    assert (done["interrupted"], done["end_s"], done["wait_s"]) == (False, 4, 1)


def by_search(jobs: Sequence[tuple[float, float, int]], slots: int) -> list[tuple[float, int]]:
    """(begin, number) of jobs (arrival, work, rank): whenever a slot is free, the best of those waiting begins."""
    free_s = [0.0] * slots
    waiting, begun = list(range(len(jobs))), []
    while waiting:
        slot = min(range(slots), key=lambda slot: free_s[slot])
        now_s = max(free_s[slot], min(jobs[number][0] for number in waiting))
        here = [number for number in waiting if jobs[number][0] <= now_s]
        best = min(here, key=lambda number: (jobs[number][2], jobs[number][0]))
        waiting.remove(best)
        begun.append((now_s, best))
        free_s[slot] = now_s + jobs[best][1]
    return begun


@given(ARRIVALS, st.integers(1, 3), st.data())
@settings(deadline=None)
def test_priorities_beside_a_search(arrivals: list[tuple[float, float]], slots: int, data: st.DataObject) -> None:
    kinds = [data.draw(st.sampled_from(["first", "second", "other"])) for _ in arrivals]
    users = [data.draw(st.sampled_from([None, 0, 1])) for _ in arrivals]
    w = served_by(Priority(("first", "second"), (1,)), slots)
    w.run(*(job(w, *one, kind, user) for one, kind, user in zip(arrivals, kinds, users, strict=True)))
    standing = {"first": 0, "second": 1, "other": 2}
    jobs = [
        (start_s, work_s, 2 * standing[kind] + (user != 1))
        for (start_s, work_s), kind, user in zip(arrivals, kinds, users, strict=True)
    ]
    expected = sorted((jobs[number][0], begin_s) for begin_s, number in by_search(jobs, slots))
    found = sorted((row["start_s"], row["start_s"] + row["wait_s"]) for row in w.rows("computations"))
    assert found == [pytest.approx(one, rel=1e-12) for one in expected]


@pytest.mark.parametrize("discipline", [part() for part in DISCIPLINES.values()])
def test_what_may_be_refused_is_refused_where_there_is_no_room(discipline: Discipline) -> None:
    """Room for two: the first is served, the second waits or shares, the third is refused until one has gone."""
    w = served_by(discipline, capacity=2)
    refused = []

    def asked(start_s: float, flops: float) -> Process:
        yield w.env.timeout(start_s)
        try:
            yield from w.network.server.processor.compute(flops, "request", 0, 0, refusable=True)
        except QueueFull:
            refused.append(w.env.now)

    w.run(asked(0, 4), asked(1, 4), asked(2, 4), asked(7.5, 4))
    assert refused == [2]
    assert len(w.rows("computations")) == 3
    w = served_by(discipline, capacity=2)
    w.run(*(job(w, 0, 1) for _ in range(5)))  # learning is never refused
    assert len(w.rows("computations")) == 5


def test_a_priority_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="no user 2; there are 2"):
        served_by(Priority(users=(2,)))


@given(ARRIVALS, st.integers(1, 3))
@settings(deadline=None)
def test_priority_without_preferences_is_first_come_first_served(jobs: list[tuple[float, float]], slots: int) -> None:
    tables = []
    for discipline in (Fifo(), Priority()):
        w = served_by(discipline, slots)
        w.run(*(job(w, *one) for one in jobs))
        tables.append(w.table("computations"))
    assert tables[0] == tables[1]
