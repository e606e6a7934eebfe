"""Comparison of one arm with the reference in one measure, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from analysis.comparison import intervals
from analysis.comparison.intervals import Values
from analysis.comparison.outcomes import Outcome

BySeed = Mapping[int, Outcome]
"""Outcomes of an arm in one measure, by seed."""


class Contrast(NamedTuple):
    """One row of a comparison. Means and differences are in `unit`; unknown numbers are NaN."""

    measure: str
    """Name of the measure, a key of MEASURES."""
    unit: str
    arm: str
    reference: str
    """Label of the arm that this one is compared with; empty for the reference itself."""
    seeds: int
    """Number of seeds that recorded the measure."""
    reached: int
    """Number of these seeds that reached the target or, for a measure without target, whose value is finite."""
    mean: float
    """Mean over the seeds that reached the target."""
    mean_low: float
    mean_high: float
    """Ends of the confidence interval of the mean."""
    pairs: int
    """Number of seeds that recorded the measure in both arms."""
    pairs_reached: int
    """Number of these pairs in which both runs reached the target; differences are over these pairs."""
    difference: float
    """Mean paired difference, this arm minus the reference."""
    low: float
    high: float
    """Ends of the confidence interval of the mean difference."""
    relative: float
    """Geometric mean of the ratios to the reference over the pairs, minus 1: -0.12 is 12 % less. NaN unless all values
    are positive."""
    relative_low: float
    relative_high: float
    """Ends of its confidence interval, from the mean of the logarithms: multiplicative effects need fewer seeds so."""
    variance_reduction: float
    """Share by which pairing by seed reduced the variance of the difference."""
    equal: int
    """Number of pairs with exactly the same value."""
    less: int
    more: int
    """Numbers of pairs in which the value of this arm is certainly less, or more. If one run of a pair missed the
    target, this is known only if the other reached it before the first one ended."""


def reference(measure: str, unit: str, arm: str, own: BySeed, confidence: float) -> Contrast:
    """Return the row of the reference arm, with its mean and no differences.

    Args:
        measure: name of the measure.
        unit: its unit.
        arm: label of the reference arm.
        own: outcomes of the arm.
        confidence: confidence level of the interval.
    """
    reached = _reached(own)
    mean = intervals.mean(reached, confidence)
    nothing = (np.nan,) * 7
    return Contrast(measure, unit, arm, "", len(own), len(reached), _mean(reached), *mean, 0, 0, *nothing, 0, 0, 0)


def contrast(
    measure: str, unit: str, arm: str, own: BySeed, to: str, others: BySeed, confidence: float = 0.95
) -> Contrast:
    """Compare an arm with the reference in one measure.

    Args:
        measure: name of the measure.
        unit: its unit.
        arm: label of the arm.
        own: outcomes of the arm.
        to: label of the reference arm.
        others: outcomes of the reference arm.
        confidence: confidence level of the intervals.
    """
    reached = _reached(own)
    paired = [(own[seed], others[seed]) for seed in sorted(own.keys() & others.keys())]
    both = np.array([(a.value, b.value) for a, b in paired if a.reached and b.reached]).reshape(-1, 2)
    values, base = _without_rounding(both[:, 0], both[:, 1]), both[:, 1]
    orders = [_order(a, b) for a, b in paired]
    return Contrast(
        measure,
        unit,
        arm,
        to,
        len(own),
        len(reached),
        _mean(reached),
        *intervals.mean(reached, confidence),
        len(paired),
        len(both),
        _mean(values - base),
        *intervals.mean(values - base, confidence),
        *_relative(values, base, confidence),
        intervals.variance_reduction(values, base),
        int((values == base).sum()),
        orders.count(-1),
        orders.count(1),
    )


def _reached(outcomes: BySeed) -> Values:
    return np.array([outcome.value for _, outcome in sorted(outcomes.items()) if outcome.reached])


def _mean(values: Values) -> float:
    return float(values.mean()) if len(values) else np.nan


def _without_rounding(values: Values, reference: Values) -> Values:
    """Replace values that differ from the reference by rounding only by those of the reference."""
    size = np.maximum(np.abs(values), np.abs(reference))
    return np.where(np.abs(values - reference) <= intervals.ROUNDING * size, reference, values)


def _relative(values: Values, base: Values, confidence: float) -> tuple[float, float, float]:
    if not len(values) or values.min() <= 0 or base.min() <= 0:
        return np.nan, np.nan, np.nan
    logarithms = np.log(values / base)
    low, high = intervals.mean(logarithms, confidence)
    return float(np.expm1(logarithms.mean())), float(np.expm1(low)), float(np.expm1(high))


def _order(own: Outcome, other: Outcome) -> int:
    """-1 if the own value is certainly less, 1 if it is certainly more, 0 if it is equal or the order is unknown."""
    if own.reached and other.reached:
        equal = abs(own.value - other.value) <= intervals.ROUNDING * max(abs(own.value), abs(other.value))
        return 0 if equal else int(np.sign(own.value - other.value))
    if own.reached:
        return -1 if own.value <= other.value else 0
    return int(other.reached and other.value <= own.value)
