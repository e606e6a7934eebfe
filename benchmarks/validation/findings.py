"""What a comparison found, and the figures of a sample with their intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kstest

Z = 3.29
"""Half width of a 99.9 % confidence interval in standard errors."""


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
