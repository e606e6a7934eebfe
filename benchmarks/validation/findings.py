"""Results of a comparison, and statistics of a sample with their confidence intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kstest
from scipy.stats import t as student

Z = 3.29
"""Half width of a 99.9 % confidence interval in standard errors."""

BATCHES = 30
"""Number of batches into which a correlated series is divided."""


@dataclass(frozen=True)
class Finding:
    """A simulated figure beside an independent reference."""

    law: str
    figure: str
    compared_with: str
    ours: float
    expected: float
    interval: float
    """Half width of the 99.9 % confidence interval, or the rounding error allowed for a deterministic figure."""

    @property
    def difference(self) -> float:
        return self.ours - self.expected

    @property
    def agrees(self) -> bool:
        return abs(self.difference) <= self.interval


def mean(law: str, figure: str, compared_with: str, samples: ArrayLike, expected: float) -> Finding:
    """Compare the mean of independent samples of finite variance."""
    values = np.asarray(samples, dtype=float)
    return Finding(law, figure, compared_with, values.mean(), expected, Z * values.std(ddof=1) / np.sqrt(values.size))


def batch_mean(
    law: str, figure: str, compared_with: str, samples: ArrayLike, expected: float, controls: ArrayLike
) -> Finding:
    """Compare the mean of a correlated series in equilibrium by the means of 30 nearly independent batches.

    `controls` are control variates (samples, variates) with mean zero; their effect on the batch means is regressed
    out. Lavenberg, Welch, A perspective on the use of control variables to increase the efficiency of Monte Carlo
    simulations, Management Science 27(3), 1981.
    """
    batches = _batches(samples)
    known = _batches(controls)
    known = known[:, known.std(axis=0) > 0]
    design = np.column_stack([np.ones(BATCHES), known])
    fitted, *_ = np.linalg.lstsq(design, batches)
    freedom = BATCHES - design.shape[1]
    error = np.sqrt(((batches - design @ fitted) ** 2).sum() / freedom * np.linalg.inv(design.T @ design)[0, 0])
    return Finding(law, figure, compared_with, float(fitted[0]), expected, float(student.ppf(0.9995, freedom) * error))


def _batches(samples: ArrayLike) -> NDArray[np.float64]:
    return np.array([batch.mean(axis=0) for batch in np.array_split(np.asarray(samples, dtype=float), BATCHES)])


def proportion(law: str, figure: str, compared_with: str, hits: ArrayLike, expected: float) -> Finding:
    """Compare a relative frequency; the interval is that of the expected probability."""
    values = np.asarray(hits, dtype=float)
    return Finding(
        law, figure, compared_with, values.mean(), expected, Z * np.sqrt(expected * (1 - expected) / values.size)
    )


def distance(law: str, compared_with: str, samples: ArrayLike, cdf: Callable[..., ArrayLike]) -> Finding:
    """Compare the Kolmogorov-Smirnov distance with its 99.9 % quantile for samples of the law, 1.95 / sqrt(n)."""
    values = np.asarray(samples, dtype=float)
    limit = 1.95 / np.sqrt(values.size)
    return Finding(law, "Kolmogorov-Smirnov distance", compared_with, float(kstest(values, cdf).statistic), 0.0, limit)
