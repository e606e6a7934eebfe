"""Intervals against exact enumeration, Student's interval, and the rate at which they must cover."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator, Philox
from scipy import stats

from analysis.comparison import intervals
from analysis.comparison.intervals import Values
from stats import assert_proportion

REPLICATIONS = 1000
"""The coverage of a right 95 % interval is then measured to a standard error of 0.7 %."""


def percentile_bootstrap(values: Values) -> intervals.Interval:
    """What is commonly used, and too narrow for few values."""
    draws = Generator(Philox(1)).integers(0, len(values), (999, len(values)))
    return intervals.Interval(*np.quantile(values[draws].mean(axis=1), [0.025, 0.975]))


def covered(
    draw: Callable[[Generator], Values], true_mean: float, interval: Callable[[Values], intervals.Interval]
) -> int:
    generator = Generator(Philox(2024))
    return sum(interval(draw(generator)).covers(true_mean) for _ in range(REPLICATIONS))


def noise(generator: Generator, size: int, deviation: float) -> Values:
    return np.exp(generator.normal(0, deviation, size) - deviation**2 / 2)  # lognormal of mean one


def a_against_a(generator: Generator, size: int) -> Values:
    """Two arms of one law: skewed (lognormal), 3 in 4 of the variance common to a pair, as by common random numbers."""
    common = noise(generator, size, 0.5)
    return common * noise(generator, size, 0.25) - common * noise(generator, size, 0.25)


@pytest.mark.parametrize("size", [5, 7, 10])
def test_an_interval_of_a_against_a_covers_zero_at_its_rate(size: int) -> None:
    """At least 95 % beyond chance (one-sided, 1 in 10,000), and not by being boundless: below 99.5 % likewise."""
    hits = covered(lambda generator: a_against_a(generator, size), 0.0, intervals.mean)
    assert stats.binomtest(hits, REPLICATIONS, 0.95, alternative="less").pvalue > 1e-4
    assert stats.binomtest(hits, REPLICATIONS, 0.995, alternative="greater").pvalue > 1e-4


@pytest.mark.parametrize("size", [5, 10])
def test_the_rate_tells_a_wrong_interval(size: int) -> None:
    hits = covered(lambda generator: a_against_a(generator, size), 0.0, percentile_bootstrap)
    assert stats.binomtest(hits, REPLICATIONS, 0.95, alternative="less").pvalue < 1e-4


def test_an_interval_of_a_skewed_shift_covers_it_at_its_rate() -> None:
    """12 % less of a lognormal reference, with 10 % of noise: differences are skewed, and ten are enough for 95 %."""

    def draw(generator: Generator) -> Values:
        base = noise(generator, 10, 0.5)
        return 0.88 * base * noise(generator, 10, 0.1) - base

    assert_proportion(covered(draw, -0.12, intervals.mean), REPLICATIONS, 0.95)


def test_another_confidence_is_another_rate() -> None:
    hits = covered(lambda generator: generator.normal(size=10), 0.0, lambda values: intervals.mean(values, 0.8))
    assert hits / REPLICATIONS == pytest.approx(0.8, abs=0.06)  # 4 standard errors


def test_the_critical_value_is_that_of_all_resamples() -> None:
    """All 5^5 resamples, one by one; 9999 drawn ones find the 95 % quantile between those at 94.2 and 95.8 %."""
    values = np.array([0.1, 0.4, 1.1, 2.9, 9.0])
    sizes = []
    for chosen in product(values, repeat=5):
        error = max(np.std(chosen, ddof=1), 0.25 * np.std(values, ddof=1)) / np.sqrt(5)
        sizes.append(abs(np.mean(chosen) - values.mean()) / error)
    low, high = np.quantile(sizes, [0.942, 0.958])
    assert low <= intervals.critical_value(values, 0.95) <= high


SAMPLES = st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 3)), min_size=5, max_size=12).map(np.array)


@settings(deadline=None, max_examples=60)
@given(SAMPLES)
def test_never_narrower_than_students(values: Values) -> None:
    low, high = intervals.mean(values)
    error = values.std(ddof=1) / np.sqrt(len(values))
    reach = stats.t.ppf(0.975, len(values) - 1) * error
    slack = 1e-9 * (1 + np.abs(values).max())
    assert low <= values.mean() - reach + slack
    assert values.mean() + reach - slack <= high


@settings(deadline=None, max_examples=60)
@given(SAMPLES, st.integers(-20, 20))
def test_order_and_unit_do_not_matter(values: Values, power: int) -> None:
    low, high = intervals.mean(values)
    turned = intervals.mean(values[::-1] * 2.0**power)
    assert turned == pytest.approx((low * 2.0**power, high * 2.0**power), rel=1e-9, abs=1e-9 * 2.0**power)


def test_ties_give_no_boundless_interval() -> None:
    """Three of five values nearly equal: 8 % of the resamples draw nothing else, and have next to no spread."""
    tied = np.array([0.0, 0.0, 0.016, 64.0, 67.0])
    low, high = intervals.mean(tied)
    student = stats.t.ppf(0.975, 4) * tied.std(ddof=1) / np.sqrt(5)
    assert student <= (high - low) / 2 < 3 * student


def test_few_values_have_no_interval() -> None:
    assert np.isnan(intervals.mean(np.array([1.0, 2.0, 3.0, 4.0]))).all()


def test_equal_values_leave_no_doubt() -> None:
    assert intervals.mean(np.full(6, 3.2)) == pytest.approx((3.2, 3.2), rel=1e-12)
    assert intervals.mean(np.zeros(6)) == (0.0, 0.0)


def test_the_same_values_give_the_same_interval() -> None:
    values = np.array([1.0, 2.5, 2.7, 4.0, 9.0, 9.5])
    first = intervals.mean(values)
    intervals._resamples.cache_clear()
    assert intervals.mean(values) == first


def test_pairing_takes_off_what_is_common() -> None:
    """Common variance 9, own variance 1 each: unpaired 2 (9 + 1), paired 2; 10,000 pairs find 0.9 to 1 %."""
    generator = Generator(Philox(3))
    common = generator.normal(0, 3, 10_000)
    values, reference = common + generator.normal(size=10_000), common + generator.normal(size=10_000)
    assert intervals.variance_reduction(values, reference) == pytest.approx(0.9, rel=0.01)
    assert intervals.variance_reduction(values, generator.permutation(reference)) == pytest.approx(0.0, abs=0.04)


def test_variance_reduction_where_nothing_varies() -> None:
    assert np.isnan(intervals.variance_reduction(np.ones(5), np.ones(5)))
    assert np.isnan(intervals.variance_reduction(np.ones(1), np.zeros(1)))


def test_sign_test_counts_coins() -> None:
    assert intervals.sign_test(9, 1) == pytest.approx(2 * (1 + 10) / 2**10)
    assert intervals.sign_test(5, 5) == 1.0
    assert intervals.sign_test(0, 0) == 1.0
