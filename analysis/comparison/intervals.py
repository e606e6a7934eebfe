"""Confidence intervals for the mean of few, possibly skewed values.

The method is the symmetric studentised bootstrap of Hall, "On symmetric bootstrap confidence intervals", Journal of the
Royal Statistical Society B 50(1), 1988: values are resampled, and the quantile of |mean* - mean| / error* replaces
Student's quantile. Three changes adapt it to five to ten seeds. The interval is never narrower than Student's. The
standard error of a resample is at least a quarter of that of the values: times and accuracies are often tied, and a
division by a spread near zero would give unbounded intervals. Resamples depend on the number of values alone, so the
same data give the same interval on every machine, in any unit and order.

Measured coverage of nominal 95 % intervals in percent, 2000 replications each (standard error 0.5), n values:

    distribution of the values                                  n = 5     7    10    20
    normal; also log-ratios of two lognormals                    97.4  96.8  95.9  95.2
    difference of two lognormals, most of it common (A/A)        98.2  98.0  97.7  97.0
    difference of two Pareto 1.6 (A/A, heavy tails)              99.5  99.2  99.2  98.8
    difference of two Poisson 3 (A/A, ties)                      97.5  97.0  96.0  94.7
    12 % less of a lognormal reference, 10 % noise               95.8  96.2  95.1  92.6
    lognormal, log-scale deviation 0.5                           95.9  94.4  92.8  94.7
    exponential                                                  92.8  92.5  92.5  93.2
    lognormal, log-scale deviation 1                             87.4  87.5  89.1  90.1

Two equal arms (A/A) therefore differ significantly in at most about 5 % of comparisons; only the mean of a strongly
skewed distribution is missed more often. The usual percentile interval covers 85 % at n = 5 and 90 % at n = 10 for the
normal distribution.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]

MIN_VALUES = 5
"""Minimum number of values for an interval: the bootstrap of fewer values is not reliable."""
RESAMPLES = 9999
"""Number of bootstrap resamples."""
MIN_SPREAD = 0.25
"""Minimum standard error of a resample, as a share of that of the values."""
ROUNDING = 1e-12
"""Relative size below which a difference or a spread is a rounding error."""


class Interval(NamedTuple):
    """A closed confidence interval; both ends are NaN if there is none."""

    low: float
    high: float

    def covers(self, value: float) -> bool:
        """Return whether the interval contains `value`."""
        return self.low <= value <= self.high


NONE = Interval(np.nan, np.nan)
"""The interval of too few values."""


def mean(values: Values, confidence: float = 0.95) -> Interval:
    """Return the confidence interval of the mean of a distribution.

    Args:
        values: independent samples of the distribution, shape (n,).
        confidence: confidence level.

    Returns:
        The interval; NONE if n is less than MIN_VALUES.
    """
    if len(values) < MIN_VALUES:
        return NONE
    centre = float(values.mean())
    margin = critical_value(values, confidence) * _error(values)
    return Interval(centre - margin, centre + margin)


def critical_value(values: Values, confidence: float) -> float:
    """Return half the width of the interval of the mean in standard errors.

    Args:
        values: samples, shape (n,).
        confidence: confidence level.
    """
    student = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    error = _error(values)
    if not error:
        return student
    centred = np.sort(values - values.mean())
    counts = _resamples(len(values))
    means = counts @ centred / len(values)
    variances = np.maximum(counts @ centred**2 / len(values) - means**2, 0.0) / (len(values) - 1)
    errors = np.maximum(np.sqrt(variances), MIN_SPREAD * error)
    return max(student, float(np.quantile(np.abs(means) / errors, confidence)))


def variance_reduction(values: Values, reference: Values) -> float:
    """Return the share by which pairing reduces the variance of the difference of two means.

    Args:
        values: values of an arm, shape (n,).
        reference: values of the reference with the same seeds, shape (n,).

    Returns:
        1 - variance of the paired difference / sum of the variances; NaN if the values do not vary or n is less than 2.
    """
    if len(values) < 2:
        return np.nan
    unpaired = values.var(ddof=1) + reference.var(ddof=1)
    return float(1 - (values - reference).var(ddof=1) / unpaired) if unpaired > 0 else np.nan


def sign_test(less: int, more: int) -> float:
    """Return the p-value of the exact two-sided sign test for `less` negative and `more` positive differences."""
    return float(stats.binomtest(less, less + more).pvalue) if less + more else 1.0


@lru_cache(maxsize=8)
def _resamples(size: int) -> Values:
    """Number of times that each of `size` values is drawn in each resample, shape (RESAMPLES, size)."""
    generator = np.random.Generator(np.random.Philox(size))
    return generator.multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(float)


def _error(values: Values) -> float:
    """Standard error of the mean; 0 if the values differ by rounding only."""
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    return error if error > ROUNDING * np.abs(values).max() else 0.0
