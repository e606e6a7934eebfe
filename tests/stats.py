"""Statistical assertions whose tolerance follows from the number of samples.

z = 4 lets a correct law fail once in 16,000 tests, alpha says it directly. As draws are named, a test that passes once
passes for ever.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, kstest


def assert_mean(samples: ArrayLike, expected: float, z: float = 4) -> None:
    """The mean of independent samples with finite variance lies within z standard errors of `expected`."""
    values = np.asarray(samples, dtype=float)
    error = values.std(ddof=1) / np.sqrt(values.size)
    assert abs(values.mean() - expected) <= z * error, (
        f"mean {values.mean()} +- {error} of {values.size}, not {expected}"
    )


def assert_proportion(successes: int, trials: int, probability: float, alpha: float = 6e-5) -> None:
    """The number of successes in independent trials fits `probability`: the exact binomial test."""
    result = binomtest(successes, trials, probability)
    assert result.pvalue > alpha, f"{successes} of {trials}, not {probability}: p = {result.pvalue}"


def assert_uncorrelated(first: ArrayLike, second: ArrayLike, z: float = 4) -> None:
    """The correlation of paired samples is that of independent ones."""
    correlation = np.corrcoef(np.asarray(first), np.asarray(second))[0, 1]
    assert abs(correlation) <= z / np.sqrt(np.size(first)), f"correlation {correlation}"


def assert_ks(samples: ArrayLike, cdf: Callable[[NDArray[np.float64]], ArrayLike], alpha: float = 1e-4) -> None:
    """Kolmogorov-Smirnov: samples of the continuous distribution `cdf` fail with probability `alpha`."""
    result = kstest(np.asarray(samples, dtype=float), cdf)
    assert result.pvalue > alpha, f"p = {result.pvalue}"
