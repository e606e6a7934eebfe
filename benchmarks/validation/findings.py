"""What a comparison found, and the figures of a sample with their intervals."""

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
"""Stretches of a correlated series."""


@dataclass(frozen=True)
class Finding:
    """A figure of ours beside one that comes from elsewhere."""

    law: str
    figure: str
    compared_with: str
    ours: float
    expected: float
    interval: float
    """Half width of the 99.9 % confidence interval of our figure, or the rounding allowed for a deterministic one."""

    @property
    def difference(self) -> float:
        return self.ours - self.expected

    @property
    def agrees(self) -> bool:
        return abs(self.difference) <= self.interval


def mean(law: str, figure: str, compared_with: str, samples: ArrayLike, expected: float) -> Finding:
    """The mean of independent samples of finite variance."""
    values = np.asarray(samples, dtype=float)
    return Finding(law, figure, compared_with, values.mean(), expected, Z * values.std(ddof=1) / np.sqrt(values.size))


def batch_mean(
    law: str, figure: str, compared_with: str, samples: ArrayLike, expected: float, controls: ArrayLike
) -> Finding:
    """The mean of a correlated series in equilibrium, by the means of 30 batches, which are all but independent.

    `controls` are columns of which the mean is known to be zero; what of the batches' means follows theirs is taken
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
    """How often something happens; the interval is that of the expected probability."""
    values = np.asarray(hits, dtype=float)
    return Finding(
        law, figure, compared_with, values.mean(), expected, Z * np.sqrt(expected * (1 - expected) / values.size)
    )


def distance(law: str, compared_with: str, samples: ArrayLike, cdf: Callable[..., ArrayLike]) -> Finding:
    """The Kolmogorov-Smirnov distance, which for samples of the law stays below 1.95 / sqrt(n) in 99.9 % of cases."""
    values = np.asarray(samples, dtype=float)
    limit = 1.95 / np.sqrt(values.size)
    return Finding(law, "Kolmogorov-Smirnov distance", compared_with, float(kstest(values, cdf).statistic), 0.0, limit)
