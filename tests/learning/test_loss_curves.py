"""Loss over token lengths: fits that recover what they were made of, and the loss model of several teams."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from learning.control.lengths import Interpolated, MeasuredCurve, PowerLaw
from learning.control.lengths.curves import rise_error
from learning.control.lengths.losses import LossRule, TeamLosses

LENGTHS = np.array([1, 2, 4, 8, 16, 17])


@pytest.mark.parametrize("law", [PowerLaw(0.7, 0.4), PowerLaw(2.0, 1.7), PowerLaw(0.05, 6.0)])
def test_a_power_law_is_recovered(law: PowerLaw) -> None:
    """Losses of a law and a constant: scale and exponent come back, and no error is left."""
    measured = MeasuredCurve(LENGTHS, 0.25 + law.at(LENGTHS))
    found = PowerLaw.fitted(measured)
    assert found.exponent == pytest.approx(law.exponent, rel=1e-4)
    assert found.scale == pytest.approx(law.scale, rel=1e-4)
    assert rise_error(found, measured) < 1e-6


def test_a_noisy_power_law_is_that_of_a_generic_solver() -> None:
    """Least squares of the rises above the whole sequence, by scipy from several starts."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        measured = MeasuredCurve(LENGTHS, 0.6 * LENGTHS ** -rng.uniform(0.4, 2) + rng.normal(0, 0.03, 6))
        x = LENGTHS.astype(float)

        def residuals(q: np.ndarray, x: np.ndarray = x, measured: MeasuredCurve = measured) -> np.ndarray:
            return q[0] * (x ** -q[1] - x[-1] ** -q[1]) - measured.rise

        fits = [least_squares(residuals, [0.5, c], bounds=[(0, 0.02), (np.inf, 20)]) for c in (0.1, 0.5, 1.0, 3.0)]
        best = min(np.sqrt(np.mean(fit.fun**2)) for fit in fits)
        assert rise_error(PowerLaw.fitted(measured), measured) <= best * (1 + 1e-6)


def test_a_loss_that_rises_with_the_length_has_no_power_law() -> None:
    """The scale is not negative: a flat curve."""
    law = PowerLaw.fitted(MeasuredCurve(LENGTHS, np.linspace(0.2, 0.9, 6)))
    assert law.at(LENGTHS).tolist() == [0.0] * 6


def test_the_nearest_falling_sequence() -> None:
    """By hand: neighbours out of order get their mean; in between it is linear, outside constant."""
    curve = Interpolated.fitted(MeasuredCurve(np.array([1, 2, 4, 8]), np.array([0.9, 0.4, 0.6, 0.1])))
    np.testing.assert_allclose(curve.at(np.array([1, 2, 3, 4, 6, 8, 9])), [0.9, 0.5, 0.5, 0.5, 0.3, 0.1, 0.1])


def team(user: int, first: float, alone: float) -> TeamLosses:
    curves = {
        user: MeasuredCurve(np.array([1, 2, 4]), np.array([first, 0.5, 0.3])),
        user + 1: MeasuredCurve(np.array([1, 2]), np.array([alone, 0.3])),
    }
    return TeamLosses(curves, shortest=2.0)


def test_the_loss_model_is_the_mean_over_teams() -> None:
    """Measured points of an isotonic fit come back: others' sequences at full length, a mean of both teams."""
    rule = LossRule(curve="isotonic")
    model = rule.model({0: {0: 4, 1: 2}, 2: {2: 4, 3: 2}}, {0: team(0, 0.9, 0.5), 2: team(2, 1.1, 0.7)})
    assert model.full == pytest.approx(0.3)
    np.testing.assert_allclose(model.parts[0], np.array([0.6, 0.2, 0.1, 0.0]) / 2)
    np.testing.assert_allclose(model.parts[3], np.array([0.4, 0.0]) / 2)
    assert team(0, 0.9, 0.5).coupling == pytest.approx(2.0 - 0.3 - 0.6 - 0.2)


def test_without_measurements_the_law_is_as_assumed() -> None:
    rule = LossRule(assumed=PowerLaw(0.8, 2.0))
    model = rule.model({0: {0: 4, 1: 2}}, {})
    assert model.full == pytest.approx(0.8 / 16 + 0.8 / 4)
    np.testing.assert_allclose(model.parts[1], [0.8 - 0.2, 0.0])
    assert LossRule(curve="assumed").measures is False


def test_lengths_that_are_measured() -> None:
    rule = LossRule(lengths=(4, 1, 8))
    assert rule.tried(17).tolist() == [1, 4, 8, 17]
    assert rule.tried(4).tolist() == [1, 4]
    assert rule.tried(1).tolist() == [1]


def test_losses_of_a_diverged_training_are_not_used() -> None:
    assert team(0, 0.9, 0.5).usable
    assert not team(0, float("nan"), 0.5).usable
    assert not team(0, 0.9, 1e31).usable


def test_figures_name_what_was_measured_and_what_is_fitted() -> None:
    """The fit meets the measurement at the whole sequence."""
    figures = LossRule().figures(MeasuredCurve(np.array([1, 2, 4]), np.array([1.0, 0.6, 0.45])))
    assert figures["loss_at_2"] == 0.6
    assert figures["fitted_loss_at_4"] == pytest.approx(0.45)
    errors = [figures[f"fitted_loss_at_{length}"] - figures[f"loss_at_{length}"] for length in (1, 2, 4)]
    assert figures["fit_error"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))
