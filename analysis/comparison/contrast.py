"""One arm held against the reference in one measure: numbers only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from analysis.comparison import intervals
from analysis.comparison.intervals import Values
from analysis.comparison.outcomes import Outcome

BySeed = Mapping[int, Outcome]


class Contrast(NamedTuple):
    """A row of a comparison. Means and differences are in `unit`; what cannot be told is missing (NaN)."""

    measure: str
    """A name of MEASURES."""
    unit: str
    arm: str
    reference: str
    """The arm that this one is compared with; empty for the reference itself."""
    seeds: int
    """Seeds that recorded the measure."""
    reached: int
    """Of these, seeds that reached the target; where there is none to reach, seeds whose value is finite."""
    mean: float
    """Mean over these seeds."""
    mean_low: float
    mean_high: float
    """Interval for that mean."""
    pairs: int
    """Seeds that recorded the measure in both arms."""
    pairs_reached: int
    """Of these, pairs in which both did: differences are over them."""
    difference: float
    """Mean paired difference, this arm minus the reference."""
    low: float
    high: float
    """Interval for the mean difference."""
    relative: float
    """Geometric mean of the pairs' ratios to the reference, minus one: -0.12 is 12 % less. Missing unless all values
    are positive."""
    relative_low: float
    relative_high: float
    """Interval for it, from the mean of the logarithms: effects that multiply are told from fewer seeds so."""
    variance_reduction: float
    """Share of the variance of the difference that pairing by seed took away."""
    equal: int
    """Pairs with exactly the same value."""
    less: int
    more: int
    """Pairs in which this arm's value is certainly less, or more: where one of two missed the target, only if the
    other reached it before the first had to give up."""


def reference(measure: str, unit: str, arm: str, own: BySeed, confidence: float) -> Contrast:
    """The reference's own row."""
    reached = _reached(own)
    mean = intervals.mean(reached, confidence)
    nothing = (np.nan,) * 7
    return Contrast(measure, unit, arm, "", len(own), len(reached), _mean(reached), *mean, 0, 0, *nothing, 0, 0, 0)


def contrast(
    measure: str, unit: str, arm: str, own: BySeed, to: str, others: BySeed, confidence: float = 0.95
) -> Contrast:
    """The outcomes `own` of an arm, by seed, held against the outcomes `others` of the arm called `to`."""
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
    """Values that differ from the reference by rounding only are the reference's."""
    size = np.maximum(np.abs(values), np.abs(reference))
    return np.where(np.abs(values - reference) <= intervals.ROUNDING * size, reference, values)


def _relative(values: Values, base: Values, confidence: float) -> tuple[float, float, float]:
    if not len(values) or values.min() <= 0 or base.min() <= 0:
        return np.nan, np.nan, np.nan
    logarithms = np.log(values / base)
    low, high = intervals.mean(logarithms, confidence)
    return float(np.expm1(logarithms.mean())), float(np.expm1(low)), float(np.expm1(high))


def _order(own: Outcome, other: Outcome) -> int:
    """-1 where the own value is certainly less, 1 where it is certainly more, else 0: equal, or not known."""
    if own.reached and other.reached:
        equal = abs(own.value - other.value) <= intervals.ROUNDING * max(abs(own.value), abs(other.value))
        return 0 if equal else int(np.sign(own.value - other.value))
    if own.reached:
        return -1 if own.value <= other.value else 0
    return int(other.reached and other.value <= own.value)
