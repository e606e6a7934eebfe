"""Bursts of background load: a Markov process by its laws, and jobs by closed form and by adding up."""

from itertools import pairwise
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import expon
from worlds import world

from netsim.description import ComputeDescription, DevicesDescription, StragglersDescription
from netsim.slowdown import Bursts, DeviceJob
from netsim.slowdown.bursts import COUNTS, MAX_POINTS, Load
from netsim.streams import Streams
from netsim.values import ConstantPerUser
from stats import assert_ks, assert_mean, assert_proportion

STREAMS = Streams(23)
LAW = Bursts(mean_idle_s=3.0, mean_burst_s=1.0, burst_slowdown=4.0)
RATE = 1 / 3.0 + 1 / 1.0


def load(user: int, law: Bursts = LAW) -> Load:
    return Load(law, STREAMS.key("load", user))


def periods(cells: int) -> dict[bool, list[float]]:
    """Lengths of whole idle and busy periods of one user: points that leave the state as it was are skipped."""
    changes: list[tuple[float, bool]] = []
    for cell in range(-cells // 2, cells // 2):
        for instant_s, state in zip(*load(0).points(cell), strict=True):
            if not changes or changes[-1][1] != state:
                changes.append((instant_s, state))
    lengths: dict[bool, list[float]] = {True: [], False: []}
    for (begin_s, state), (end_s, _) in pairwise(changes[1:]):
        lengths[bool(state)].append(end_s - begin_s)
    return lengths


def test_periods_are_exponential() -> None:
    lengths = periods(1500)
    assert_ks(lengths[False], expon(scale=3.0).cdf)
    assert_ks(lengths[True], expon(scale=1.0).cdf)


@pytest.mark.parametrize("instant_s", [0.0, 6.0, 1e6 + 0.1])
def test_equilibrium_at_every_instant(instant_s: float) -> None:
    """From the very beginning, at a border of cells, and late."""
    assert_proportion(sum(load(user).busy(instant_s) for user in range(4000)), 4000, 0.25)


@pytest.mark.parametrize("lag_s", [0.2, 1.0, 7.0])
def test_autocorrelation(lag_s: float) -> None:
    """Both busy: p (p + (1 - p) exp(-rate lag)) for a two-state process."""
    both = sum(load(user).busy(50.0) and load(user).busy(50.0 + lag_s) for user in range(4000))
    assert_proportion(both, 4000, 0.25 * (0.25 + 0.75 * exp(-RATE * lag_s)))


@pytest.mark.parametrize("work_s", [0.01, 1.0, 12.0])
def test_mean_duration(work_s: float) -> None:
    """Counted in work done, the state leaves idleness at rate a = 1/3 and a burst at rate b = 4/1, so it is busy with
    q + (p - q) exp(-(a + b) u), q = a / (a + b); a unit of work takes 1, or 4 when busy."""
    a, b, p = 1 / 3.0, 4.0, 0.25
    q = a / (a + b)
    expected_s = work_s + 3 * (q * work_s + (p - q) * (1 - exp(-(a + b) * work_s)) / (a + b))
    assert_mean([load(user).duration_s(100.0, work_s) for user in range(3000)], expected_s)


def test_long_jobs_go_at_the_mean_speed() -> None:
    """0.75 + 0.25 / 4 of nominal speed; the speed's variance 0.75^2 p (1 - p) has correlation time 1/rate."""
    work_s, speed = 20_000.0, 0.75 + 0.25 / 4
    std = np.sqrt(2 * 0.75**2 * 0.25 * 0.75 / RATE / (work_s / speed))
    assert work_s / load(1).duration_s(3.0, work_s) == pytest.approx(speed, abs=4 * std)


def by_hand(each: Load, start_s: float, work_s: float) -> float:
    """Plain steps of a thousandth of a second, looking up the state in the middle of each."""
    at_s = start_s
    while work_s > 0:
        work_s -= 0.001 * (0.25 if each.busy(at_s + 0.0005) else 1.0)
        at_s += 0.001
    return at_s - start_s


@pytest.mark.parametrize("user", range(4))
def test_duration_by_plain_steps(user: int) -> None:
    assert load(user).duration_s(17.3, 2.0) == pytest.approx(by_hand(load(user), 17.3, 2.0), abs=0.01)


@given(st.integers(0, 50), st.floats(0, 1e4), st.floats(0.01, 40), st.floats(0.01, 40))
def test_work_adds_up(user: int, start_s: float, first_s: float, second_s: float) -> None:
    """Doing one thing after another takes as long as both at once, and never less or more than the speeds allow."""
    each = load(user)
    one = each.duration_s(start_s, first_s)
    two = each.duration_s(start_s + one, second_s)
    assert one + two == pytest.approx(each.duration_s(start_s, first_s + second_s), rel=1e-9, abs=1e-6)
    assert first_s * (1 - 1e-12) <= one <= 4 * first_s * (1 + 1e-12)


def test_degenerate_bursts() -> None:
    assert Bursts(burst_slowdown=1.0).slowdown(DeviceJob(0, 0.5, STREAMS, 3.0, 7.0)) == pytest.approx(1.0, rel=1e-12)
    rare = Bursts(mean_idle_s=1e12, mean_burst_s=1.0)
    assert rare.slowdown(DeviceJob(0, 0.5, STREAMS, 3.0, 7.0)) == pytest.approx(1.0, rel=1e-12)
    always = Bursts(mean_idle_s=0.01, mean_burst_s=1e6, burst_slowdown=3.0)
    assert always.slowdown(DeviceJob(0, 0.5, STREAMS, 3.0, 7.0)) == pytest.approx(3.0)


def test_draws_of_cells_do_not_overlap() -> None:
    """More redrawings than a cell has room for would be cut off; the law says how rare that is."""
    assert 1 - COUNTS[-1] < 1e-15
    assert len(load(0).points(0)[0]) <= MAX_POINTS
    first, second = (set(load(0).points(cell)[0] % load(0).cell_s) for cell in (0, 1))
    assert not first & second


def test_a_row_tells_the_slowdown_that_was_met() -> None:
    """In the middle of a job, for the job that waited as from the instant at which it was its turn."""
    compute = ComputeDescription(DevicesDescription(ConstantPerUser(1e9)), stragglers=StragglersDescription(LAW))
    w = world(compute=compute, users=1)
    user = w.network.users[0]
    w.run(user.compute(5e9, "a"), user.compute(2e9, "b"))
    first, second = w.rows("computations")
    each = Load(LAW, Streams(7).key("background load", 0))
    assert first["service_s"] == pytest.approx(each.duration_s(0.0, 5.0), rel=1e-12)
    assert second["service_s"] == pytest.approx(each.duration_s(first["end_s"], 2.0), rel=1e-12)
    assert second["wait_s"] == first["service_s"]
    assert [row["slowdown"] for row in (first, second)] == pytest.approx(
        [first["service_s"] / 5.0, second["service_s"] / 2.0], rel=1e-12
    )
    assert [row["energy_j"] for row in (first, second)] == pytest.approx([0.5, 0.2])  # the work, not its duration
