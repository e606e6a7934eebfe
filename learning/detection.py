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
    detected = np.bincount(labels[labels == predicted], minlength=classes)
    shares = np.full(classes, np.nan)
    np.divide(detected, samples, out=shares, where=samples > 0)
    return shares


def balanced_accuracy(labels: Integers, predicted: Integers, classes: int) -> float:
    """Mean of the recalls of the classes that have samples: a guess has one over their number, whatever their shares.

    Arguments as in `recalls`; there is at least one sample.
    """
    # Brodersen et al., ICPR 2010.
    return float(np.nanmean(recalls(labels, predicted, classes)))


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
