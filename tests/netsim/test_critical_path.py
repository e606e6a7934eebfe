"""The chain behind a round's end: worked examples, and sums that hold for any activities."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.critical_path import Activity, PathSegment, critical_path


def work(
    user: int | None,
    start_s: float,
    end_s: float,
    *,
    node: str = "server",
    kind: str = "job",
    cause: str = "compute",
    wait_s: float = 0.0,
    straggle_s: float = 0.0,
    completed: bool = True,
) -> Activity:
    return Activity(user, node, kind, cause, start_s, wait_s, straggle_s, end_s, completed)


def chain(*activities: Activity, start_s: float = 0.0, end_s: float = 10.0) -> list[tuple[int | None, str, float]]:
    return [(s.user, s.cause, s.end_s) for s in critical_path(activities, start_s, end_s)]


def test_the_slower_of_two_users_decides() -> None:
    fast = [work(0, 0, 2, node="user0"), work(0, 2, 5, node="station0", cause="airtime")]
    slow = [work(1, 0, 6, node="user1", straggle_s=4.0), work(1, 6, 9, node="station0", cause="airtime")]
    server = work(None, 9, 10)
    assert chain(*fast, *slow, server) == [
        (1, "compute", 2),
        (1, "straggle", 6),
        (1, "airtime", 9),
        (None, "compute", 10),
    ]


def test_waiting_in_a_queue() -> None:
    assert chain(work(0, 0, 4), work(1, 0, 10, wait_s=4.0)) == [(1, "queue", 4), (1, "compute", 10)]


def test_gaps_are_waits() -> None:
    assert chain(work(0, 1, 4), work(0, 6, 8)) == [
        (None, "wait", 1),
        (0, "compute", 4),
        (None, "wait", 6),
        (0, "compute", 8),
        (None, "wait", 10),
    ]
    assert chain() == [(None, "wait", 10)]


def test_the_same_user_goes_before_the_same_node_before_the_first() -> None:
    last = work(1, 6, 10, node="a")
    first, node, user = work(0, 0, 6, node="c"), work(0, 1, 6, node="a"), work(1, 2, 6, node="b")
    assert chain(first, node, user, last, start_s=5.0)[0] == (1, "compute", 6)
    assert [s.node for s in critical_path([first, node, last], 5.0, 10.0)] == ["a", "a"]
    assert [s.node for s in critical_path([first, last], 5.0, 10.0)] == ["c", "a"]


def test_completed_work_goes_before_work_given_up() -> None:
    given_up, done = work(0, 0, 10, completed=False), work(1, 3, 10)
    assert chain(given_up, done, start_s=3.0) == [(1, "compute", 10)]
    assert chain(given_up) == [(0, "compute", 10)]


def test_work_that_began_in_an_earlier_round_is_cut_at_the_start() -> None:
    activity = work(0, 0, 10, wait_s=2.0, straggle_s=3.0)
    assert critical_path([activity], 4.0, 10.0) == [
        PathSegment(0, "server", "job", "compute", 4.0, 7.0),
        PathSegment(0, "server", "job", "straggle", 7.0, 10.0),
    ]


def test_work_of_no_duration_does_not_stop_the_walk() -> None:
    assert chain(work(0, 10, 10), work(1, 0, 10), end_s=10.0) == [(1, "compute", 10)]


def test_an_empty_round() -> None:
    assert critical_path([work(0, 0, 5)], 5.0, 5.0) == []


instants = st.integers(0, 12).map(float)


@given(
    st.lists(st.tuples(instants, instants, st.floats(0, 1), st.floats(0, 1), st.integers(0, 3), st.booleans())),
    instants,
    instants,
)
def test_segments_cover_the_round_without_gaps(
    drawn: list[tuple[float, float, float, float, int, bool]], first: float, second: float
) -> None:
    activities = []
    for one, other, waited, straggled, user, completed in drawn:
        start_s, end_s = min(one, other), max(one, other)
        wait_s = waited * (end_s - start_s)
        straggle_s = straggled * (end_s - start_s - wait_s)
        activities.append(work(user, start_s, end_s, wait_s=wait_s, straggle_s=straggle_s, completed=completed))
    start_s, end_s = min(first, second), max(first, second)
    segments = critical_path(activities, start_s, end_s)
    reached_s = start_s
    for segment in segments:
        assert segment.start_s == reached_s
        assert segment.end_s > segment.start_s
        reached_s = segment.end_s
    assert reached_s == end_s
    assert sum(s.end_s - s.start_s for s in segments) == pytest.approx(end_s - start_s, abs=1e-9)
