"""Straggler laws by their distributions, and what a redraw depends on."""

from math import gamma, log

import numpy as np
import pytest
from scipy.stats import expon, norm, weibull_min

from netsim.slowdown import (
    ListedSlowdowns,
    Lognormal,
    NoSlowdown,
    Pareto,
    ShiftedExponential,
    SlowdownLaw,
    Slowdowns,
    Weibull,
)
from netsim.streams import Streams
from stats import assert_ks, assert_mean, assert_proportion

STREAMS = Streams(21)


def draws(law: SlowdownLaw, count: int = 5000) -> np.ndarray:
    slowdowns = Slowdowns(law, "round", STREAMS)
    return np.array([slowdowns.draw(0, number)(0.0, 1.0) for number in range(count)])


def test_shifted_exponential() -> None:
    values = draws(ShiftedExponential(shift=0.5, rate=4.0))
    assert_ks(values, expon(0.5, 0.25).cdf)
    assert_mean(values, 0.75)


def test_lognormal() -> None:
    values = draws(Lognormal(sigma=0.7))
    assert_ks(np.log(values) / 0.7, norm.cdf)
    assert_proportion(int((values > 1).sum()), len(values), 0.5)


@pytest.mark.parametrize("alpha", [0.8, 1.5, 3.0])
def test_pareto(alpha: float) -> None:
    """Compared as a distribution: for alpha <= 2 no standard error of the mean exists."""
    values = draws(Pareto(alpha))
    assert values.min() >= 1
    assert_ks(np.array([log(value) for value in values]) * alpha, expon.cdf)
    assert_proportion(int((values > 10).sum()), len(values), 10**-alpha)


@pytest.mark.parametrize("shape", [0.5, 1.0, 3.0])
def test_weibull(shape: float) -> None:
    values = draws(Weibull(shift=0.8, scale=2.0, shape=shape))
    assert_ks(values, weibull_min(shape, 0.8, 2.0).cdf)
    assert_mean(values, 0.8 + 2.0 * gamma(1 + 1 / shape))
    if shape == 1:
        assert values == pytest.approx(draws(ShiftedExponential(0.8, rate=0.5)), rel=1e-12)


def test_degenerate_values() -> None:
    assert set(draws(NoSlowdown(), 20)) == {1.0}
    assert set(draws(Lognormal(sigma=0.0), 20)) == {1.0}
    assert draws(ShiftedExponential(1.0, 1e18), 20) == pytest.approx(np.ones(20))
    assert draws(Pareto(1e18), 20) == pytest.approx(np.ones(20))


def test_a_list_has_one_factor_a_user() -> None:
    slowdowns = Slowdowns(ListedSlowdowns((1.0, 2.5)), "job", STREAMS)
    assert [slowdowns.draw(user, 3)(0.0, 1.0) for user in (0, 1, 1, 0)] == [1.0, 2.5, 2.5, 1.0]
    ListedSlowdowns((1.0, 2.5)).check(2)
    with pytest.raises(ValueError, match="2 slowdown factors are given, but there are 3 users"):
        ListedSlowdowns((1.0, 2.5)).check(3)


def test_redraw_once_a_round() -> None:
    slowdowns = Slowdowns(Lognormal(), "round", STREAMS)
    values = [[slowdowns.draw(user, number)(0.0, 1.0) for _ in range(3)] for number in (0, 1) for user in (0, 1)]
    assert all(len(set(jobs)) == 1 for jobs in values)
    assert len({jobs[0] for jobs in values}) == 4


def test_redraw_for_each_job() -> None:
    slowdowns = Slowdowns(Lognormal(), "job", STREAMS)
    values = [slowdowns.draw(user, number)(0.0, 1.0) for number in (0, 1) for user in (0, 1) for _ in range(3)]
    assert len(set(values)) == 12
    assert_ks(np.log([slowdowns.draw(0, 2)(0.0, 1.0) for _ in range(3000)]) / 0.5, norm.cdf)


def test_a_draw_does_not_depend_on_what_others_do() -> None:
    alone, busy = (Slowdowns(Lognormal(), "job", STREAMS) for _ in range(2))
    for user, number in ((0, 0), (2, 0), (2, 0), (1, 1)):
        busy.draw(user, number)
    assert busy.draw(2, 1)(0.0, 1.0) == alone.draw(2, 1)(0.0, 1.0)
    assert busy.draw(2, 2)(0.0, 1.0) == alone.draw(2, 2)(0.0, 1.0)
