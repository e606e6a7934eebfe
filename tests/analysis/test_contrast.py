"""One arm against another, by hand."""

import math

import numpy as np
import pytest

from analysis.comparison.contrast import Contrast, contrast, reference
from analysis.comparison.intervals import MIN_VALUES
from analysis.comparison.outcomes import Goal, Outcome
from analysis.comparison.sentences import sentence

GOAL = Goal("accuracy", 0.8)


def held(own: list[Outcome], others: list[Outcome], measure: str = "time_to_target_s", unit: str = "s") -> Contrast:
    return contrast(measure, unit, "new", dict(enumerate(own)), "old", dict(enumerate(others)))


def reached(*values: float) -> list[Outcome]:
    return [Outcome(value) for value in values]


def missed(*values: float) -> list[Outcome]:
    return [Outcome(value, reached=False) for value in values]


def test_differences_are_between_equal_seeds() -> None:
    own = {3: Outcome(8.0), 1: Outcome(1.0), 9: Outcome(100.0)}
    row = contrast("time_to_target_s", "s", "new", own, "old", {1: Outcome(2.0), 2: Outcome(50.0), 3: Outcome(4.0)})
    assert (row.seeds, row.pairs, row.less, row.more, row.equal) == (3, 2, 1, 1, 0)
    assert row.mean == pytest.approx(109 / 3)
    assert row.difference == 1.5  # of -1 and 4
    assert row.relative == pytest.approx(0.0)  # half and twice
    assert row.variance_reduction == pytest.approx(1 - 12.5 / (24.5 + 2.0))


def test_an_effect_that_multiplies_is_told_relative() -> None:
    old = [1.0, 2.0, 5.0, 9.0, 40.0]
    row = held(reached(*(0.88 * value for value in old)), reached(*old))
    assert (row.relative, row.relative_low, row.relative_high) == pytest.approx((-0.12, -0.12, -0.12))
    assert row.low < row.difference < row.high
    assert sentence(row, GOAL, 0.95) == (
        "new reaches 80% accuracy 12.0% sooner than old (95% CI 12.0 to 12.0%, 5 paired seeds)."
    )


def test_values_that_are_not_positive_are_compared_in_units() -> None:
    row = held(reached(0.0, 1.0, 2.0, 3.0, 4.0), reached(2.0, 3.0, 4.0, 5.0, 6.0), "bits_to_target", "bit")
    assert math.isnan(row.relative)
    assert sentence(row, GOAL, 0.95) == (
        "new sends 2.00 bit fewer bits to 80% accuracy than old (95% CI 2.00 to 2.00 bit, 5 paired seeds)."
    )


def test_chance_is_not_reported_as_a_difference() -> None:
    row = held(reached(1.0, 2.0, 3.0, 4.0, 5.0), reached(2.0, 1.0, 3.5, 3.5, 5.0))
    assert row.relative_low < 0 < row.relative_high
    text = sentence(row, GOAL, 0.95)
    assert text.startswith("no significant difference in time to 80% accuracy between new and old ")
    assert f"{-100 * row.relative_low:.1f}% less to " in text


def test_accuracies_differ_by_points() -> None:
    row = held(reached(*[0.9] * 5), reached(0.8, 0.81, 0.79, 0.8, 0.8), "final_value", "")
    assert sentence(row, GOAL, 0.95).startswith("new ends 10.0 percentage points higher in accuracy than old (95% CI ")


def test_rounding_is_no_difference() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.7, 0.9])
    row = held(reached(*(values * 3 / 3 + 1e-16)), reached(*values))
    assert (row.equal, row.less, row.more, row.difference, row.low, row.high) == (5, 0, 0, 0.0, 0.0, 0.0)
    assert sentence(row, GOAL, 0.95) == "new and old have exactly the same time to 80% accuracy in 5 paired seeds."


@pytest.mark.parametrize("pairs", range(1, MIN_VALUES))
def test_too_few_seeds_have_no_interval(pairs: int) -> None:
    row = held(reached(*[1.0] * pairs), reached(*[2.0] * pairs))
    assert math.isnan(row.low)
    assert math.isnan(row.relative_low)
    noun = "seed" if pairs == 1 else "seeds"
    assert sentence(row, GOAL, 0.95) == (
        f"new reaches 80% accuracy 50.0% sooner than old ({pairs} paired {noun}: too few, at least 5 are needed for an "
        "interval)."
    )


@pytest.mark.parametrize(
    ("own", "other", "order"),
    [
        (Outcome(1.0), Outcome(2.0), (1, 0)),
        (Outcome(2.0), Outcome(1.0), (0, 1)),
        (Outcome(1.0), Outcome(1.0), (0, 0)),
        (Outcome(1.0), Outcome(2.0, reached=False), (1, 0)),  # the other had not reached it at 2
        (Outcome(2.0), Outcome(2.0, reached=False), (1, 0)),
        (Outcome(3.0), Outcome(2.0, reached=False), (0, 0)),  # the other ended at 2 and might have reached it before 3
        (Outcome(2.0, reached=False), Outcome(1.0), (0, 1)),
        (Outcome(1.0, reached=False), Outcome(2.0), (0, 0)),
        (Outcome(1.0, reached=False), Outcome(2.0, reached=False), (0, 0)),
    ],
)
def test_a_run_that_missed_the_target_counts_as_far_as_it_went(own: Outcome, other: Outcome, order: tuple) -> None:
    row = held([own], [other])
    assert (row.less, row.more) == order


def test_a_missed_target_is_said_and_not_averaged_away() -> None:
    own = reached(*[1.0] * 6) + reached(1.0, 1.0, 1.0, 1.0)
    row = held(own, [*reached(*[2.0] * 6), *missed(5.0, 5.0, 5.0, 0.5)])
    assert (row.pairs, row.pairs_reached, row.less, row.more) == (10, 6, 9, 0)
    assert sentence(row, GOAL, 0.95) == (
        "80% accuracy was not reached by one arm or both in 4 of 10 pairs: new has the lower time to 80% accuracy in "
        "9 of 9 pairs whose order is known (sign test p = 0.0039). For the pairs in which both reached it, and for no "
        "others: new reaches 80% accuracy 50.0% sooner than old (95% CI 50.0 to 50.0%, 6 paired seeds)."
    )


def test_a_target_that_no_run_reached() -> None:
    row = held(missed(1.0, 2.0), missed(3.0, 4.0))
    assert math.isnan(row.mean)
    assert math.isnan(row.difference)
    assert sentence(row, GOAL, 0.95) == (
        "80% accuracy was not reached by one arm or both in 2 of 2 pairs: in no pair is it known which arm has the "
        "lower time to 80% accuracy."
    )


def test_no_seed_in_common() -> None:
    row = contrast("mean_latency_s", "s", "new", {1: Outcome(1.0)}, "old", {2: Outcome(1.0)})
    assert sentence(row, GOAL, 0.95) == "new and old have no seed in common that recorded mean round latency."


def test_the_reference_has_a_mean_and_no_difference() -> None:
    row = reference("mean_latency_s", "s", "old", dict(enumerate(reached(1.0, 2.0, 3.0, 4.0, 5.0))), 0.95)
    assert row.mean == 3.0
    assert row.mean_low < 3.0 < row.mean_high
    assert math.isnan(row.difference)
    assert row.reference == ""
