"""Gaussian distributions with diagonal covariance: divergence, distance, product, and surprise at a value.

All functions work on the last axis, the dimensions, of tensors of equal shape.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MIN_VARIANCE = 1e-6
"""Added to a variance that divides, or whose square root is differentiated."""


class Gaussian(NamedTuple):
    """Means and variances, (..., dimensions) each."""

    mean: Tensor
    variance: Tensor


def divergence_from_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of Gaussians (..., d) from the standard normal distribution, (...), in nats."""
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(-1)


def squared_wasserstein(one: Gaussian, other: Gaussian) -> Tensor:
    """Squared 2-Wasserstein distance of Gaussians (..., d), (...).

    It is the squared distance of the means plus that of the standard deviations.
    """
    # Givens and Shortt, Michigan Mathematical Journal 1984; diagonal matrices commute.
    deviations = [(each.variance + MIN_VARIANCE).sqrt() for each in (one, other)]
    return (one.mean - other.mean).square().sum(-1) + (deviations[0] - deviations[1]).square().sum(-1)


def product(experts: Gaussian, present: Tensor) -> Gaussian:
    """Product of Gaussian experts and a standard normal prior.

    Args:
        experts: Gaussians of the experts, (samples, experts, d).
        present: which experts take part, bool (samples, experts).

    Returns:
        The Gaussian (samples, d) whose precision is 1 plus the sum of the experts' precisions; without experts the
        prior itself.
    """
    # Product of experts: Hinton, Neural Computation 2002; with a prior expert: Wu and Goodman, NeurIPS 2018.
    nothing = torch.zeros_like(experts.mean)
    precision = torch.where(present[..., None], 1 / experts.variance, nothing)
    weighted = torch.where(present[..., None], experts.mean / experts.variance, nothing)
    total = 1 + precision.sum(-2)
    return Gaussian(weighted.sum(-2) / total, 1 / total)


def surprise(value: Tensor, expected: Gaussian) -> Tensor:
    """Mean squared standardised deviation (...) of values (..., d) from what was expected.

    Its expectation is 1 for values of the expected distribution, and 1 + c^2 for values c standard deviations off.
    """
    return ((value - expected.mean).square() / (expected.variance + MIN_VARIANCE)).mean(-1)
