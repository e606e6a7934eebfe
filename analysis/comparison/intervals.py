"""Confidence intervals for the mean of few, perhaps skewed values.

Everything rests on the symmetric studentised bootstrap of Hall, "On symmetric bootstrap confidence intervals", Journal
of the Royal Statistical Society B 50(1), 1988: values are resampled, and the quantile of |mean* - mean| / error* takes
the place of Student's quantile. Three things make it fit for five to ten seeds. The interval is never narrower than
Student's. A resample that happens to draw nearly equal values counts as if it had a quarter of the spread of the
original ones: times and accuracies are often tied, and dividing by no spread would give boundless intervals. Resamples
depend on the number of values alone, so the same data give the same interval on every machine, in any unit and order.

Measured coverage of nominal 95 % intervals in percent, 2000 replications each (standard error 0.5), n values:

    law of the values                                           n = 5     7    10    20
    normal; also log-ratios of two lognormals                    97.4  96.8  95.9  95.2
    difference of two lognormals, most of it common (A/A)        98.2  98.0  97.7  97.0
    difference of two Pareto 1.6 (A/A, heavy tails)              99.5  99.2  99.2  98.8
    difference of two Poisson 3 (A/A, ties)                      97.5  97.0  96.0  94.7
    12 % less of a lognormal reference, 10 % noise               95.8  96.2  95.1  92.6
    lognormal, log-scale deviation 0.5                           95.9  94.4  92.8  94.7
    exponential                                                  92.8  92.5  92.5  93.2
    lognormal, log-scale deviation 1                             87.4  87.5  89.1  90.1

Two equal arms (A/A) are so never told apart more often than in 5 %; only the mean of a strongly skewed law is missed
more often. The percentile interval, the usual choice, covers 85 % at n = 5 and 90 % at n = 10 of the normal law.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]

FEWEST = 5
"""Values below which no interval is given: the bootstrap has too little to draw from, and the law cannot be seen."""
RESAMPLES = 9999
MIN_SPREAD = 0.25
"""Standard error that a resample has at least, as a share of that of the values."""
ROUNDING = 1e-12
"""Relative size below which a difference or a spread is rounding, not an effect."""


class Interval(NamedTuple):
    """A confidence interval, ends included; with missing ends where there is none."""

    low: float
    high: float

    def covers(self, value: float) -> bool:
        """Whether `value` cannot be excluded."""
        return self.low <= value <= self.high


NONE = Interval(np.nan, np.nan)


def mean(values: Values, confidence: float = 0.95) -> Interval:
    """Interval for the mean of the law that independent `values` were drawn from; NONE for fewer than FEWEST."""
    if len(values) < FEWEST:
        return NONE
    centre = float(values.mean())
    reach = critical_value(values, confidence) * _error(values)
    return Interval(centre - reach, centre + reach)


def critical_value(values: Values, confidence: float) -> float:
    """How many standard errors the interval for the mean reaches to each side."""
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
    """Share of the variance of a difference of means that pairing took away; missing where nothing varies."""
    if len(values) < 2:
        return np.nan
    unpaired = values.var(ddof=1) + reference.var(ddof=1)
    return float(1 - (values - reference).var(ddof=1) / unpaired) if unpaired > 0 else np.nan


def sign_test(less: int, more: int) -> float:
    """Two-sided probability of counts as uneven as these if less and more were equally likely (exact)."""
    return float(stats.binomtest(less, less + more).pvalue) if less + more else 1.0


@lru_cache(maxsize=8)
def _resamples(size: int) -> Values:
    """(RESAMPLES, size): how often each of `size` values was drawn, with replacement."""
    generator = np.random.Generator(np.random.Philox(size))
    return generator.multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(float)


def _error(values: Values) -> float:
    """Standard error of the mean, zero where the values differ by rounding only."""
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    return error if error > ROUNDING * np.abs(values).max() else 0.0
