"""Claims about the results of a sweep, each with a rule that is fixed before the sweep is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf, isfinite, nan
from typing import Literal, NamedTuple

import numpy as np

from analysis.comparison import intervals
from analysis.comparison.outcomes import MEASURES, Goal, Outcome, observe
from analysis.measures import NotRecorded
from analysis.run import Run
from analysis.totals import TOTALS, total

DECISION = "decision "
"""Beginning of the measure that is the mean of a decision."""
NAMES = tuple(dict.fromkeys([*MEASURES, "late_value", *TOTALS]))
"""Names of the other measures of claims."""

Verdict = Literal["holds", "partly", "does not hold"]


class NotJudged(ValueError):
    """A claim is about an arm or a measure that the sweep does not have."""


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, and the measured values for which it holds.

    The verdict is *holds* if the whole confidence interval is within the bounds, *partly* if only the mean is, and
    *does not hold* otherwise. The interval is the 95 % confidence interval of the mean for five or more seeds, and the
    range of the values for fewer.
    """

    says: str
    """The claim in words."""
    arm: str
    """Label of the setting that the claim is about."""
    measure: str
    """The measure: one of `netsim compare`, `late_value` (mean over the last third of the evaluations), a total of the
    run, or `decision NAME` (mean of the decision)."""
    against: str | None = None
    """Label of the setting to compare with, paired by seed; null judges the value of the arm itself."""
    relative: bool = False
    """Whether the difference is relative to the value of the other setting: -0.2 is 20 % less."""
    at_least: float | None = None
    """Minimum value or difference for which the claim holds; null for no minimum."""
    at_most: float | None = None
    """Maximum value or difference for which the claim holds; null for no maximum."""
    figure: str | None = None
    """The value in the paper, if it could be read there."""
    metric: str | None = None
    """Metric of the final value and of the target (default: that of the study)."""
    split: str | None = None
    """Data of that metric: `test`, `own` (users' own test samples), `test_6_db` (default: that of the study)."""
    user: int | None = None
    """Number of the user whose evaluations of that metric they are (default: those of all users together)."""
    nature: Literal["finding", "check", "by_construction"] = "finding"
    """What a verdict on the claim is worth: a `finding` can fail and is evidence for or against the paper; a `check` is
    arithmetic of the configuration, such as a number of bits; `by_construction` cannot fail, such as an optimum beside
    a member of its own feasible set. Only findings are counted."""

    def __post_init__(self) -> None:
        if self.measure not in NAMES and not self.measure.startswith(DECISION):
            allowed = f"{', '.join(NAMES)}, `{DECISION}NAME`"
            near = "".join(f"; nearest is {each}" for each in get_close_matches(self.measure, NAMES, n=1))
            raise ValueError(f"no measure is called {self.measure!r}{near}; allowed: {allowed}")
        if self.at_least is None and self.at_most is None:
            raise ValueError("a claim needs at_least or at_most, or both")
        if self.relative and self.against is None:
            raise ValueError("a relative claim needs `against`, the setting to compare with")

    @property
    def rule(self) -> str:
        """The bounds in words."""
        what = f"{'relative ' if self.relative else ''}{'difference' if self.against else 'value'} of {self.measure}"
        bounds = {"at least": self.at_least, "at most": self.at_most}
        return f"{what} {' and '.join(f'{word} {bound:g}' for word, bound in bounds.items() if bound is not None)}"

    def admits(self, value: float) -> bool:
        """Return whether a value is within the bounds."""
        low = -inf if self.at_least is None else self.at_least
        high = inf if self.at_most is None else self.at_most
        return low <= value <= high


class Finding(NamedTuple):
    """Measured values for a claim, and the verdict."""

    claim: Claim
    mean: float
    """Mean over seeds of the value or difference."""
    low: float
    high: float
    """Ends of its 95 % confidence interval, or of the range of the values for fewer than five seeds."""
    seeds: int
    """Number of seeds, or of pairs of runs with equal seeds."""
    verdict: Verdict


def judge(claims: Sequence[Claim], runs: Mapping[tuple[str, int], Run], goal: Goal) -> list[Finding]:
    """Judge claims by the runs of a sweep.

    Args:
        claims: the claims.
        runs: complete runs by (label of the setting, seed), as in `Sweep.runs`.
        goal: metric and target of claims about a target or a final value.

    Returns:
        One finding per claim.

    Raises:
        NotJudged: a claim is about a setting or a measure that the runs do not have.
    """
    return [_finding(claim, _values(claim, runs, goal)) for claim in claims]


def _finding(claim: Claim, values: Sequence[float]) -> Finding:
    array = np.array(values)
    with np.errstate(invalid="ignore"):  # the mean of infinities of both signs is NaN
        mean = float(array.mean()) if len(array) else nan
    low, high = intervals.mean(array) if np.isfinite(array).all() else intervals.NONE
    if not isfinite(low):
        low, high = (float(array.min()), float(array.max())) if len(array) else (nan, nan)
    verdict: Verdict = "does not hold"
    if claim.admits(mean):
        verdict = "holds" if claim.admits(low) and claim.admits(high) else "partly"
    return Finding(claim, mean, low, high, len(array), verdict)


def _values(claim: Claim, runs: Mapping[tuple[str, int], Run], goal: Goal) -> list[float]:
    """Value of each seed that all settings of the claim have."""
    goal = Goal(claim.metric or goal.metric, goal.target, claim.split or goal.split, claim.user)
    own = _outcomes(claim.arm, claim.measure, runs, goal)
    if claim.against is None:
        return [_own(outcome, claim) for outcome in own.values()]
    other = _outcomes(claim.against, claim.measure, runs, goal)
    return [_difference(own[seed], other[seed], claim) for seed in sorted(own.keys() & other.keys())]


def _own(outcome: Outcome, claim: Claim) -> float:
    """Value of the claim's own arm; infinite for an upper bound if the target was missed: the true value is larger."""
    return inf if claim.at_most is not None and not outcome.reached else outcome.value


def _difference(own: Outcome, other: Outcome, claim: Claim) -> float:
    """Difference of two runs. A run that missed the target counts against the claim, as its true value is unknown."""
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
    if measure in TOTALS or measure.startswith(DECISION):
        return Outcome(total(run, measure))
    try:
        found = observe(run, goal)
    except NotRecorded as error:
        raise NotJudged(str(error)) from error
    if measure not in found:
        raise NotJudged(f"a run has no {measure}; it has {_named([*found, *TOTALS])}")
    return found[measure]


def _named(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names)) or "none"
