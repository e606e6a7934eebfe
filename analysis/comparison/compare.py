"""Comparison of arms under common random numbers: a table, sentences, and warnings about their validity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from analysis.comparison.arms import Arm, Item, arms, listed
from analysis.comparison.contrast import Contrast, contrast, reference
from analysis.comparison.intervals import MIN_VALUES
from analysis.comparison.outcomes import MEASURES, Goal, Outcome, hardest_common_goal, main_metric, observe
from analysis.comparison.pairing import pairing
from analysis.comparison.sentences import sentence
from analysis.comparison.text import tables

MANY_INTERVALS = 20
"""Number of 95 % intervals of which one is expected to miss the true value by chance."""

NOTE = (
    "Differences are between runs of the same seed; percentages are geometric means over these pairs.\n"
    "Variance less by: reduction of the variance of the mean difference by pairing."
)
"""Explanation printed below the tables."""

Outcomes = dict[str, dict[int, dict[str, Outcome]]]
"""Outcomes by arm, seed and measure."""


class NotComparable(ValueError):
    """The runs form fewer than two arms."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """Result of `compare`; `print` shows all of it as plain text."""

    goal: Goal
    confidence: float
    """Confidence level of each interval."""
    rows: list[Contrast]
    """One row per measure and arm; for each measure, the reference arm first."""
    warnings: list[str]
    """Runs that are left out, and reasons why the intervals are less reliable than they seem."""
    outcomes: pd.DataFrame
    """The values compared, one row each: arm, seed, measure, value, reached (see `Outcome`)."""
    pairing: str
    """Sentences on the sources of randomness that runs of the same seed share (see `pairing`)."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per measure and arm, with the columns of `Contrast`."""
        return pd.DataFrame(self.rows, columns=Contrast._fields)

    @property
    def sentences(self) -> list[str]:
        """One sentence for each measure and each arm except the reference, in the order of the arms."""
        compared = sorted((row for row in self.rows if row.reference), key=lambda row: self.arms.index(row.arm))
        return [sentence(row, self.goal, self.confidence) for row in compared]

    @property
    def arms(self) -> list[str]:
        """Labels of the arms, the reference first."""
        return list(dict.fromkeys(row.arm for row in self.rows))

    def __str__(self) -> str:
        note = f"{NOTE}\n{self.pairing}".rstrip()
        parts = [tables(self.rows, self.goal, self.confidence), note, "\n".join(self.sentences)]
        return "\n\n".join([*parts, *(f"Warning: {warning}." for warning in self.warnings)])

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.arms)}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def compare(
    items: Iterable[Item],
    target: float | None = None,
    metric: str | None = None,
    *,
    split: str = "test",
    confidence: float = 0.95,
) -> Comparison:
    """Compare runs in time, energy and bits to a target, in the final value of a metric, and in round latency.

    Runs form arms (see `arms`), and each arm is compared with the first, the reference. Runs with the same seed have
    the same users, channels and slowdowns and are compared in pairs.

    Args:
        items: runs, sweeps, or their directories.
        target: value of the metric until which time, energy and bits are counted. Default: the
            hardest value, with two significant digits, that all runs reached, as in reports.
        metric: name of the metric. Default: the perplexity of language models, else the accuracy, and without it the
            first metric that was evaluated.
        split: data that the model was evaluated on.
        confidence: confidence level of each single interval (see `intervals`).

    Raises:
        NotComparable: there are fewer than two arms.
        NotRecorded: a run evaluated other metrics only.
        NotARun: a directory holds neither a run nor a sweep.
        NotASweep: the index of a sweep cannot be read.
    """
    found, warnings = arms(items)
    if len(found) < 2:
        raise NotComparable("; ".join([_why_not(found), *warnings]))
    return compare_arms(found, warnings, _goal(found, target, metric, split), confidence)


def compare_arms(found: Sequence[Arm], warnings: Sequence[str], goal: Goal, confidence: float = 0.95) -> Comparison:
    """Compare each arm with the first; a single arm has means only.

    Args:
        found: the arms.
        warnings: warnings from the grouping into arms, which the result includes.
        goal: metric, target and split.
        confidence: confidence level of each single interval.
    """
    outcomes = {arm.label: {seed: observe(run, goal) for seed, run in sorted(arm.runs.items())} for arm in found}
    rows = list(_rows(outcomes, confidence))
    weak = [*_diverged(found, goal), *_weaknesses(rows, outcomes, goal)]
    return Comparison(goal, confidence, rows, [*warnings, *weak], _frame(outcomes), pairing(found))


def _goal(found: Sequence[Arm], target: float | None, metric: str | None, split: str) -> Goal:
    runs = [run for arm in found for run in arm.runs.values()]
    metric = metric or main_metric(runs, split)
    return hardest_common_goal(runs, metric, split) if target is None else Goal(metric, target, split)


def _why_not(found: Sequence[Arm]) -> str:
    if not found:
        return "there is nothing to compare: no complete run is left"
    return f"there is nothing to compare: all runs are of one arm, {found[0].label}"


def _rows(outcomes: Outcomes, confidence: float) -> Iterator[Contrast]:
    first, *others = outcomes
    for name, measure in MEASURES.items():
        by_arm = {
            arm: {seed: found[name] for seed, found in seeds.items() if name in found}
            for arm, seeds in outcomes.items()
        }
        if any(by_arm.values()):
            yield reference(name, measure.unit, first, by_arm[first], confidence)
            for arm in others:
                yield contrast(name, measure.unit, arm, by_arm[arm], first, by_arm[first], confidence)


def _diverged(found: Sequence[Arm], goal: Goal) -> Iterator[str]:
    for arm in found:
        since = {seed: run.diverged_from(goal.split) for seed, run in sorted(arm.runs.items())}
        named = [f"{number} on with seed {seed}" for seed, number in since.items() if number is not None]
        if named:
            yield (
                f"{arm.label} diverged in {len(named)} of {len(since)} runs, which reach no target any more: "
                f"the loss is not finite from round {listed(named, ', from round ')}"
            )


def _weaknesses(rows: Sequence[Contrast], outcomes: Outcomes, goal: Goal) -> Iterator[str]:
    first, *others = outcomes
    for arm in others:
        yield from _unpaired(arm, outcomes[arm].keys() - outcomes[first].keys(), first)
        yield from _unpaired(first, outcomes[first].keys() - outcomes[arm].keys(), arm)
    for arm, seeds in outcomes.items():
        unknown = [seed for seed, found in seeds.items() if not found.keys() & {"final_value", "answer_value"}]
        if unknown:
            yield f"{arm} has no {goal.metric} on {goal.split} with seed {listed(unknown)}"
    few = {row.arm: row.pairs for row in rows if row.reference and row.pairs < MIN_VALUES}
    if few:
        pairs = listed([f"{arm} ({pairs})" for arm, pairs in few.items()])
        yield f"too few paired seeds for an interval, at least {MIN_VALUES} are needed: {pairs}"
    intervals = sum(row.low == row.low for row in rows)
    if intervals >= MANY_INTERVALS:
        yield f"of {intervals} intervals some miss by chance: a single one that excludes zero is weak evidence"


def _unpaired(arm: str, seeds: set[int], other: str) -> Iterator[str]:
    if seeds:
        named = f"seed{'s' if len(seeds) > 1 else ''} {listed(sorted(seeds))}"
        yield (
            f"{named} of {arm} left out of the differences, as {other} has no such run: "
            f"without equal seeds there are no common random numbers"
        )


def _frame(outcomes: Outcomes) -> pd.DataFrame:
    return pd.DataFrame(
        [
            (arm, seed, measure, *outcome)
            for arm, seeds in outcomes.items()
            for seed, found in seeds.items()
            for measure, outcome in found.items()
        ],
        columns=["arm", "seed", "measure", *Outcome._fields],
    )
