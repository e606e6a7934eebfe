"""Generation plans: how many samples of each class are generated."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]
Plan = Literal["deficit", "uniform"]
"""Classes of the samples that are generated: those that users have the fewest of, or all alike."""

SMOOTHING = 1.0
"""Samples that are added to the deficit of each class, so that a class without deficit is generated too."""


def largest_remainder(weights: ArrayLike, total: int) -> Integers:
    """Whole numbers in proportion to weights that sum to `total`, each within one of its exact share; ties go in order.

    Args:
        weights: non-negative weights, (n,), of which one is positive unless `total` is 0.
        total: the sum.
    """
    given = np.asarray(weights, dtype=np.float64)
    if not total:
        return np.zeros(len(given), dtype=np.int64)
    exact = given / given.sum() * total
    whole: Integers = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def planned(plan: Plan, known: ArrayLike, total: int) -> Integers:
    """Samples to generate of each class, (classes,), `total` in all.

    Args:
        plan: `deficit` is in proportion to what a class lacks to the most frequent one, plus `SMOOTHING`.
        known: samples of all users by class, (classes,).
        total: number of samples.
    """
    counts = np.asarray(known, dtype=np.float64)
    return largest_remainder(counts.max() - counts + SMOOTHING if plan == "deficit" else np.ones(len(counts)), total)


def client_gap(histogram: ArrayLike, reference: ArrayLike, max_samples: int) -> Integers:
    """Samples that a user lacks of each class, max(0, pi_c M - n_c) rounded, (classes,); at most `max_samples` in all.

    Args:
        histogram: samples of the user by class, (classes,), M in all.
        reference: the distribution pi, (classes,).
        max_samples: limit on the sum, which is then divided in proportion to the gaps.
    """
    counts = np.asarray(histogram, dtype=np.float64)
    gaps = np.maximum(0.0, np.asarray(reference) * counts.sum() - counts)
    return largest_remainder(gaps, min(round(float(gaps.sum())), max_samples))


def labels_of(counts: Integers) -> Integers:
    """The classes of so many samples of each class, class by class."""
    return np.repeat(np.arange(len(counts)), counts)
