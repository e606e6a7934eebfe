"""Metrics of detection against scikit-learn and against their definitions."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from learning.detection import area, balanced_accuracy, calibration_error, recalls


@pytest.mark.parametrize("seed", range(5))
def test_recalls_are_those_of_scikit_learn(seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels, predicted = draw.choice(4, 200, p=[0.7, 0.1, 0.15, 0.05]), draw.integers(4, size=200)
    np.testing.assert_allclose(recalls(labels, predicted, 4), recall_score(labels, predicted, average=None))
    assert balanced_accuracy(recalls(labels, predicted, 4)) == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_a_class_without_samples_does_not_count() -> None:
    labels, predicted = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 2])
    found = recalls(labels, predicted, 4)
    assert found[[0, 2]].tolist() == [0.5, 1.0]
    assert np.isnan(found[[1, 3]]).all()
    assert balanced_accuracy(recalls(labels, predicted, 4)) == 0.75


def test_what_is_no_class_is_detected_as_none() -> None:
    assert recalls(np.array([0, 1]), np.array([-1, -1]), 2).tolist() == [0, 0]


def test_a_guess_of_the_commonest_class_is_no_better_than_chance() -> None:
    labels = np.repeat([0, 1, 2], [90, 6, 4])
    assert balanced_accuracy(recalls(labels, np.zeros(100, dtype=np.int64), 3)) == pytest.approx(1 / 3)


def test_calibration_error_by_its_definition() -> None:
    draw = np.random.default_rng(3)
    confidence, correct = draw.uniform(0.05, 1, 500), draw.random(500) < 0.6
    total = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            total += inside.sum() / 500 * abs(confidence[inside].mean() - correct[inside].mean())
    assert calibration_error(confidence, correct) == pytest.approx(total, rel=1e-9)


def test_limits_of_the_calibration_error() -> None:
    """Certain and always right: 0. Certain and always wrong: 1. As often right as is said: about 0."""
    sure = np.ones(50)
    assert calibration_error(sure, np.ones(50, dtype=bool)) == 0
    assert calibration_error(sure, np.zeros(50, dtype=bool)) == 1
    assert calibration_error(np.zeros(50), np.zeros(50, dtype=bool)) == 0
    draw = np.random.default_rng(4)
    confidence = draw.random(100_000)
    assert calibration_error(confidence, draw.random(100_000) < confidence) < 0.01


def test_bins_include_their_upper_ends() -> None:
    """0.1 is in the first bin and 0.15 in the second, so that their gaps of different signs do not cancel."""
    found = calibration_error(np.array([0.1, 0.15]), np.array([True, False]))
    assert found == pytest.approx((0.9 + 0.15) / 2)


@pytest.mark.parametrize("levels", [3, 10, 10**6])
def test_areas_are_those_of_scikit_learn_and_of_all_pairs(levels: int) -> None:
    """With three levels most pairs are equal."""
    draw = np.random.default_rng(levels)
    positive, scores = draw.random(80) < 0.3, draw.integers(levels, size=80).astype(float)
    pairs = np.sign(scores[positive][:, None] - scores[~positive][None]) / 2 + 0.5
    assert area(positive, scores) == pytest.approx(pairs.mean(), rel=1e-14)
    assert area(positive, scores) == pytest.approx(roc_auc_score(positive, scores), rel=1e-12)


def test_an_area_needs_samples_of_both_kinds_and_numbers() -> None:
    scores = np.array([0.1, 0.2])
    assert np.isnan(area(np.array([True, True]), scores))
    assert np.isnan(area(np.array([False, False]), scores))
    assert np.isnan(area(np.array([True, False]), np.array([np.nan, 0.2])))
