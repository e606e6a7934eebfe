"""How good a classifier is at detecting each class, and how far its confidence can be trusted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

BINS = 10
"""Intervals of equal length into which confidences are sorted for the calibration error."""


def recalls(labels: Integers, predicted: Integers, classes: int) -> Floats:
    """Share of the samples of each class that are detected, (classes,); NaN for a class without samples.

    Args:
        labels: true classes, (n,).
        predicted: predicted classes, (n,).
        classes: number of classes.
    """
    samples = np.bincount(labels, minlength=classes)
    return shares(np.bincount(labels[labels == predicted], minlength=classes), samples)


def shares(detected: Integers, samples: Integers) -> Floats:
    """`recalls` from the numbers of detected samples and of all samples of each class, (classes,)."""
    found = np.full(len(samples), np.nan)
    np.divide(detected, samples, out=found, where=samples > 0)
    return found


def balanced_accuracy(recalls: Floats) -> float:
    """Mean of the recalls of the classes that have samples: a guess has one over their number, whatever their shares.

    `recalls` are those of the classes, (classes,), NaN for a class without samples; one has some.
    """
    # Brodersen et al., ICPR 2010.
    return float(np.nanmean(recalls))


def area(positive: NDArray[np.bool_], scores: Floats) -> float:
    """Area under the receiver operating characteristic: how often a positive sample has the higher score.

    It is the Mann-Whitney statistic over all pairs of a positive and a negative sample, where equal scores count half.
    NaN without a positive or a negative sample, and where a score is NaN.

    Args:
        positive: which samples are positive, (n,).
        scores: their scores, (n,).
    """
    # Hanley and McNeil, Radiology 1982.
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others or bool(np.isnan(scores).any()):
        return float("nan")
    _, level, ties = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[level]  # from 1; of equal scores the mean of their ranks
    above = ranks[positive].sum() - count * (count + 1) / 2
    return float(above / (count * others))


def calibration_error(confidence: Floats, correct: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error: mean over samples of the gap between confidence and accuracy in a sample's bin.

    Args:
        confidence: probability of the predicted class, in [0, 1], (n,), n at least 1.
        correct: whether the prediction is right, (n,).
        bins: number of intervals of equal length, which include their upper ends.
    """
    # Guo et al., ICML 2017.
    number = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(number, weights=confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
