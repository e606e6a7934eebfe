"""Claims about a sweep, with the rule that decides about each written down before anything is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Literal, NamedTuple

import numpy as np

from analysis.comparison import intervals
from analysis.comparison.outcomes import Goal, Outcome, observe
from analysis.measures import NotRecorded
from analysis.run import Run
from analysis.totals import TOTALS, total

Verdict = Literal["holds", "partly", "does not hold"]


class NotJudged(ValueError):
    """A claim about an arm or measure that a sweep does not have."""


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, and what must be measured for it to hold.

    It *holds* if the whole interval keeps to the bounds, *partly* if only the mean does, and *does not hold* otherwise.
    The interval is that of the mean at 95 % from five seeds on, and the range of the seeds' own values for fewer.
    """

    says: str
    """The claim in words."""
    arm: str
    """Label of the setting that it is about."""
    measure: str
    """What is measured: a measure of `netsim compare`, `late_value` (the mean of the last third of the evaluations), a
    total of the run, or `decision NAME` (its mean)."""
    against: str | None = None
    """Label of the setting that it is held against, seed by seed; null judges the arm's own value."""
    relative: bool = False
    """Whether the difference is taken as a share of the other's value: -0.2 is 20 % less."""
    at_least: float | None = None
    """Least value that agrees with the claim."""
    at_most: float | None = None
    """Greatest value that agrees with the claim."""
    figure: str | None = None
    """The paper's own figure, where one was read."""
    metric: str | None = None
    """Metric of the final value and of the target, if not that of the study."""

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a claim needs at_least or at_most, or both: the rule that decides about it")
        if self.relative and self.against is None:
            raise ValueError("a relative claim needs `against`: the setting that it is held against")

    @property
    def rule(self) -> str:
        """The bounds in words."""
        what = f"{'relative ' if self.relative else ''}{'difference' if self.against else 'value'} of {self.measure}"
        bounds = {"at least": self.at_least, "at most": self.at_most}
        return f"{what} {' and '.join(f'{word} {bound:g}' for word, bound in bounds.items() if bound is not None)}"

    def admits(self, value: float) -> bool:
        """Whether a value keeps to the bounds."""
        low = -inf if self.at_least is None else self.at_least
        high = inf if self.at_most is None else self.at_most
        return low <= value <= high


class Finding(NamedTuple):
    """What was measured for a claim."""

    claim: Claim
    mean: float
    low: float
    high: float
    seeds: int
    verdict: Verdict


def judge(claims: Sequence[Claim], runs: Mapping[tuple[str, int], Run], goal: Goal) -> list[Finding]:
    """A finding for each claim, from the runs of a sweep by (label, seed).

    Raises NotJudged for a claim about a setting or measure that is not there.
    """
    return [_finding(claim, _values(claim, runs, goal)) for claim in claims]


def _finding(claim: Claim, values: Sequence[float]) -> Finding:
    array = np.array(values)
    with np.errstate(invalid="ignore"):  # of infinities of both signs there is no mean
        mean = float(array.mean()) if len(array) else nan
    low, high = intervals.mean(array) if np.isfinite(array).all() else intervals.NONE
    if not isfinite(low):
        low, high = (float(array.min()), float(array.max())) if len(array) else (nan, nan)
    verdict: Verdict = "does not hold"
    if claim.admits(mean):
        verdict = "holds" if claim.admits(low) and claim.admits(high) else "partly"
    return Finding(claim, mean, low, high, len(array), verdict)


def _values(claim: Claim, runs: Mapping[tuple[str, int], Run], goal: Goal) -> list[float]:
    """One value for each seed that ran in all arms concerned."""
    if claim.metric is not None:
        goal = Goal(claim.metric, goal.target, goal.split)
    own = _outcomes(claim.arm, claim.measure, runs, goal)
    if claim.against is None:
        return [_own(outcome, claim) for outcome in own.values()]
    other = _outcomes(claim.against, claim.measure, runs, goal)
    return [_difference(own[seed], other[seed], claim) for seed in sorted(own.keys() & other.keys())]


def _own(outcome: Outcome, claim: Claim) -> float:
    """What missed the target would have spent more, nobody knows how much; for ever, where it diverged."""
    return inf if claim.at_most is not None and not outcome.reached else outcome.value


def _difference(own: Outcome, other: Outcome, claim: Claim) -> float:
    """Whichever missed the target counts against the claim: a claim is never credited with what was not seen."""
    if claim.at_least is not None and not other.reached:
        return -inf
    value = _own(own, claim)
    return value / other.value - 1 if claim.relative else value - other.value


def _outcomes(arm: str, measure: str, runs: Mapping[tuple[str, int], Run], goal: Goal) -> dict[int, Outcome]:
    own = {seed: run for (label, seed), run in runs.items() if label == arm}
    if not own:
        raise NotJudged(f'no complete run of "{arm}"; there are runs of {_named(label for label, _ in runs)}')
    return {seed: _outcome(run, measure, goal) for seed, run in own.items()}


def _outcome(run: Run, measure: str, goal: Goal) -> Outcome:
    if measure in TOTALS or measure.startswith("decision "):
        return Outcome(total(run, measure))
    try:
        found = observe(run, goal)
    except NotRecorded as error:
        raise NotJudged(str(error)) from error
    if measure not in found:
        raise NotJudged(f'nothing called "{measure}" was measured; there are {_named([*found, *TOTALS])}')
    return found[measure]


def _named(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names)) or "none"
