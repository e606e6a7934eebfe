"""Comparing arms under common random numbers: a table, sentences, and warnings of what weakens them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.comparison.arms import Arm, Item, arms, listed
from analysis.comparison.contrast import Contrast, contrast, reference
from analysis.comparison.intervals import FEWEST
from analysis.comparison.outcomes import MEASURES, Goal, Outcome, observe
from analysis.comparison.sentences import sentence
from analysis.comparison.text import tables

MANY_INTERVALS = 20
"""Intervals at 95 % from which on one is expected to miss by chance alone."""

NOTE = (
    "Differences are between runs of the same seed; percentages are geometric means over these pairs.\n"
    "Variance less by: what pairing took off the variance of the mean difference."
)

Outcomes = dict[str, dict[int, dict[str, Outcome]]]
"""Outcomes by arm, seed and measure."""


class NotComparable(ValueError):
    """Runs of which fewer than two arms are left to compare."""


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; printing it shows all of it as plain text."""

    goal: Goal
    confidence: float
    rows: list[Contrast]
    """One for each measure and arm, the reference first."""
    warnings: list[str]
    """What was left out, and what makes the intervals weaker than they look."""
    outcomes: pd.DataFrame
    """What was compared: arm, seed, measure, value, reached (see `Outcome`)."""

    @property
    def table(self) -> pd.DataFrame:
        """One row for each measure and arm, with the columns of `Contrast`."""
        return pd.DataFrame(self.rows, columns=Contrast._fields)

    @property
    def sentences(self) -> list[str]:
        """What can be said, one sentence for each measure and arm but the reference, arm by arm."""
        held = sorted((row for row in self.rows if row.reference), key=lambda row: self.arms.index(row.arm))
        return [sentence(row, self.goal, self.confidence) for row in held]

    @property
    def arms(self) -> list[str]:
        """Labels, the reference first."""
        return list(dict.fromkeys(row.arm for row in self.rows))

    def __str__(self) -> str:
        parts = [tables(self.rows, self.goal, self.confidence), NOTE, "\n".join(self.sentences)]
        return "\n\n".join([*parts, *(f"Warning: {warning}." for warning in self.warnings)])


def compare(
    items: Iterable[Item],
    target: float = 0.8,
    metric: str = "accuracy",
    *,
    split: str = "test",
    confidence: float = 0.95,
) -> Comparison:
    """Time, energy and bits until `metric` reaches `target`, its final value, and round latency, arm against arm.

    `items` are runs, sweeps, or their directories. Their runs form arms (see `arms`); every other arm is compared with
    the first, pairing runs of the same seed, which see the same users, channels and slowdowns. Intervals are those of
    `intervals`, each at `confidence` by itself.

    Raises NotComparable when fewer than two arms are left, NotRecorded when a run evaluated only other metrics,
    NotARun and NotASweep for folders that are neither.
    """
    found, warnings = arms(items)
    if len(found) < 2:
        raise NotComparable("; ".join([_why_not(found), *warnings]))
    return contrasted(found, warnings, Goal(metric, target, split), confidence)


def contrasted(found: Sequence[Arm], warnings: Sequence[str], goal: Goal, confidence: float = 0.95) -> Comparison:
    """Every arm held against the first; with one arm only, the means alone."""
    outcomes = {arm.label: {seed: observe(run, goal) for seed, run in sorted(arm.runs.items())} for arm in found}
    rows = list(_rows(outcomes, confidence))
    weak = [*_diverged(found, goal), *_weaknesses(rows, outcomes, goal)]
    return Comparison(goal, confidence, rows, [*warnings, *weak], _frame(outcomes))


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
        unknown = [seed for seed, found in seeds.items() if "final_value" not in found]
        if unknown:
            yield f"{arm} has no {goal.metric} on {goal.split} with seed {listed(unknown)}"
    few = {row.arm: row.pairs for row in rows if row.reference and row.pairs < FEWEST}
    if few:
        pairs = listed([f"{arm} ({pairs})" for arm, pairs in few.items()])
        yield f"too few paired seeds for an interval, at least {FEWEST} are needed: {pairs}"
    intervals = sum(row.low == row.low for row in rows)
    if intervals >= MANY_INTERVALS:
        yield f"of {intervals} intervals some miss by chance alone: a single one that excludes zero proves little"


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
