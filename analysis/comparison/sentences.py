"""One sentence per contrast, which claims a difference only if it is significant."""

from __future__ import annotations

import math
from typing import NamedTuple

from analysis.comparison.contrast import Contrast
from analysis.comparison.intervals import MIN_VALUES, Interval, sign_test
from analysis.comparison.outcomes import MEASURES, Goal
from analysis.style import number, scale


def sentence(row: Contrast, goal: Goal, confidence: float) -> str:
    """Describe a contrast in a sentence.

    A difference is claimed only if its interval does not contain 0. If the target was missed in some pairs, the
    sentence gives their number and the result of a sign test.

    Args:
        row: a contrast with a reference.
        goal: metric, target and split of the comparison.
        confidence: confidence level of the intervals.
    """
    if not row.pairs:
        return f"{row.arm} and {row.reference} have no seed in common that recorded {title(row, goal)}."
    if row.pairs_reached == row.pairs:
        return f"{_claim(row, goal, confidence)}."
    missing = row.pairs - row.pairs_reached
    if targeted(row):
        what, both = f"{goal} was not reached by one arm or both", "reached it"
    else:
        what, both = f"the {title(row, goal)} of one arm or both is not finite", "are finite"
    missed = f"{what} in {missing} of {_count(row.pairs)}: {_order(row, goal)}"
    if not row.pairs_reached:
        return f"{missed}."
    return f"{missed}. For the pairs in which both {both}, and for no others: {_claim(row, goal, confidence)}."


def targeted(row: Contrast) -> bool:
    """Return whether the measure of `row` is a cost until a target is reached."""
    return "to_target" in row.measure


def title(row: Contrast, goal: Goal) -> str:
    """Return the name of the measure of `row` in words."""
    return MEASURES[row.measure].title.format(goal=goal, metric=goal.metric)


class Shown(NamedTuple):
    """A difference and the ends of its interval, in the unit in which they are shown."""

    difference: float
    low: float
    high: float
    unit: str


def shown(row: Contrast, goal: Goal) -> Shown:
    """Return the difference of `row` as it is shown: in percent of the reference if the measure is relative, else in
    a multiple of its unit."""
    if MEASURES[row.measure].relative and math.isfinite(row.relative):
        return Shown(100 * row.relative, 100 * row.relative_low, 100 * row.relative_high, "%")
    if percentages(row.measure, goal):
        return Shown(100 * row.difference, 100 * row.low, 100 * row.high, " percentage points")
    size, symbol = scale(abs(row.difference), row.unit) if row.unit else (1.0, "")
    return Shown(row.difference / size, row.low / size, row.high / size, f" {symbol}".rstrip())


def percentages(measure: str, goal: Goal) -> bool:
    """Return whether values of a measure are shown in percent, and differences in percentage points."""
    return measure == "served_share" or (measure in ("final_value", "answer_value") and goal.metric == "accuracy")


def _claim(row: Contrast, goal: Goal, confidence: float) -> str:
    difference, low, high, unit = shown(row, goal)
    seeds = _count(row.pairs_reached, "paired seed")
    if row.equal == row.pairs_reached:
        return f"{row.arm} and {row.reference} have exactly the same {title(row, goal)} in {seeds}"
    measure = MEASURES[row.measure]
    text, amount = measure.less if difference < 0 else measure.more, f"{number(abs(difference))}{unit}"
    change = f"{row.arm} {text.format(amount=amount, goal=goal, metric=goal.metric)} than {row.reference}"
    if row.pairs_reached < MIN_VALUES:
        return f"{change} ({seeds}: too few, at least {MIN_VALUES} are needed for an interval)"
    smaller, larger = sorted((abs(low), abs(high)))
    if not Interval(low, high).covers(0.0):
        return f"{change} ({confidence:.0%} CI {number(smaller)} to {number(larger)}{unit}, {seeds})"
    return (
        f"no significant difference in {title(row, goal)} between {row.arm} and {row.reference} "
        f"({confidence:.0%} CI {number(abs(low))}{unit} less to {number(high)}{unit} more, {seeds})"
    )


def _order(row: Contrast, goal: Goal) -> str:
    """Numbers of pairs with certain order, and the p-value of the sign test."""
    certain = row.less + row.more
    if not certain:
        return f"in no pair is it known which arm has the lower {title(row, goal)}"
    verdict = f"sign test p = {sign_test(row.less, row.more):.2g}"
    return (
        f"{row.arm} has the lower {title(row, goal)} in {row.less} of {certain} pairs whose order is known ({verdict})"
    )


def _count(many: int, noun: str = "pair") -> str:
    return f"{many} {noun}" + ("s" if many != 1 else "")
