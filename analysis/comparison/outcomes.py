"""Outcomes of a run: the measures by which runs are compared, with their wording."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis import measures
from analysis.run import Run
from analysis.totals import total


class Outcome(NamedTuple):
    """Value of one measure of one run."""

    value: float
    reached: bool = True
    """False if the target was not reached, or if the value is not finite. `value` is then what had been spent at the
    last evaluation, and infinite if the training had diverged, so that the target would never be reached."""


@dataclass(frozen=True)
class Goal:
    """The learning target until which time, energy and bits are counted."""

    metric: str = "accuracy"
    target: float = 0.8
    split: str = "test"
    """Data that the model is evaluated on."""
    user: int | None = None
    """Number of the user whose evaluations count; None for those of all users together."""

    def __str__(self) -> str:
        if self.metric == "accuracy":
            return f"{100 * self.target:.4g}% {self.metric}"
        return f"{self.metric} {self.target:.4g}"


@dataclass(frozen=True)
class Measure:
    """Wording of a measure, with the placeholders {goal}, {metric} and, in `less` and `more`, {amount}."""

    title: str
    unit: str
    less: str
    """Statement about an arm whose value is smaller by {amount} than that of the reference."""
    more: str
    """Statement about an arm whose value is larger by {amount} than that of the reference."""
    relative: bool = True
    """Whether differences are shown as a share of the reference."""


MEASURES = {
    "time_to_target_s": Measure(
        "time to {goal}", "s", "reaches {goal} {amount} sooner", "reaches {goal} {amount} later"
    ),
    "energy_to_target_j": Measure(
        "energy to {goal}", "J", "uses {amount} less energy to {goal}", "uses {amount} more energy to {goal}"
    ),
    "bits_to_target": Measure(
        "bits to {goal}", "bit", "sends {amount} fewer bits to {goal}", "sends {amount} more bits to {goal}"
    ),
    "final_value": Measure(
        "final {metric}", "", "ends {amount} lower in {metric}", "ends {amount} higher in {metric}", relative=False
    ),
    "mean_latency_s": Measure(
        "mean round latency", "s", "has rounds {amount} shorter on average", "has rounds {amount} longer on average"
    ),
    "p95_latency_s": Measure(
        "95th percentile of round latency",
        "s",
        "has a 95th percentile of round latency {amount} lower",
        "has a 95th percentile of round latency {amount} higher",
    ),
    "answer_value": Measure(
        "{metric} of answers",
        "",
        "has {amount} lower {metric} of answers",
        "has {amount} higher {metric} of answers",
        False,
    ),
    "request_mean_s": Measure(
        "mean latency of served requests", "s", "serves requests {amount} faster", "serves requests {amount} slower"
    ),
    "request_p95_s": Measure(
        "95th percentile of the latency of served requests",
        "s",
        "has a 95th percentile of latency of requests {amount} lower",
        "has a 95th percentile of latency of requests {amount} higher",
    ),
    "served_share": Measure(
        "share of requests served",
        "",
        "serves {amount} less of all requests",
        "serves {amount} more of all requests",
        False,
    ),
}
"""Measures by which runs are compared, by name, in the order of the tables."""


def observe(run: Run, goal: Goal) -> dict[str, Outcome]:
    """Return the outcomes of a run by measure: those of MEASURES, and `late_value` (see `measures.late_mean`).

    Measures that the run did not record are absent.

    Raises:
        NotRecorded: the run evaluated other metrics, but not that of the goal.
    """
    return {**_learning(run, goal), **_latency(run), **_requests(run, goal)}


def _learning(run: Run, goal: Goal) -> dict[str, Outcome]:
    history = values(run, goal)
    if history.empty:
        return {}
    time_s = measures.time_to(run.evaluations, goal.metric, goal.target, goal.split, goal.user)
    reached = time_s is not None
    until_s = float(history["time_s"].iloc[-1]) if time_s is None else time_s
    spent = measures.totals_until(run.rounds, until_s)
    to_target = {
        "time_to_target_s": until_s,
        "energy_to_target_j": float(spent["energy_j"]),
        "bits_to_target": float(spent[["uplink_bits", "downlink_bits"]].sum()),
    }
    never = not reached and run.diverged_from(goal.split) is not None
    return {
        **{name: Outcome(math.inf if never else value, reached) for name, value in to_target.items()},
        "final_value": _reached_value(float(history["value"].iloc[-1]), goal),
        "late_value": _reached_value(measures.late_mean(history["value"]), goal),
    }


def _reached_value(value: float, goal: Goal) -> Outcome:
    """Outcome of a final value; a loss that is NaN counts as infinite."""
    if math.isfinite(value):
        return Outcome(value)
    return Outcome(math.inf if measures.lower_is_better(goal.metric) else value, reached=False)


def _latency(run: Run) -> dict[str, Outcome]:
    if "rounds" not in run.tables or run.rounds.empty or answers_alone(run):
        return {}
    latency = run.round_latency()
    return {
        "mean_latency_s": Outcome(float(latency["mean_s"])),
        "p95_latency_s": Outcome(float(latency["p95_s"])),
    }


def _requests(run: Run, goal: Goal) -> dict[str, Outcome]:
    if "requests" not in run.tables or run.requests.empty:
        return {}
    found = {name: total(run, name) for name in ("request_mean_s", "request_p95_s", "served_share")}
    if "evaluations" in run.tables:
        found["answer_value"] = measures.mean_of_answers(run.evaluations, goal.metric)
    return {name: Outcome(value) for name, value in found.items() if math.isfinite(value)}


def answers_alone(run: Run) -> bool:
    """Return whether the run evaluated answers to requests, and no model that it trained.

    Its rounds are reporting periods, whose length says nothing.
    """
    splits = set(run.evaluations["split"]) if "evaluations" in run.tables else set()
    return measures.ANSWERS in splits and splits <= {measures.ANSWERS, "pretraining"}


def values(run: Run, goal: Goal) -> pd.DataFrame:
    """Return the evaluations of the goal's metric in order of time, with NaN and infinity.

    There are none for a dry run, and for one that answered requests alone.

    Raises:
        NotRecorded: the run evaluated other metrics, but not that of the goal.
    """
    if "evaluations" not in run.tables or run.evaluations.empty or answers_alone(run):
        return pd.DataFrame(columns=["time_s", "value"])
    history = measures.metric_history(run.evaluations, goal.metric, goal.split, goal.user)
    return history if measures.has_values(run.evaluations) else history.iloc[:0]


def main_metric(runs: Iterable[Run], split: str = "test") -> str:
    """Return the metric by which runs are compared unless another is asked for.

    It is the perplexity of language models, else the accuracy, else the first metric evaluated on the split.
    """
    found = [run.evaluations for run in runs if "evaluations" in run.tables and not answers_alone(run)]
    metrics = list(dict.fromkeys(metric for each in found for metric in each["metric"][each["split"] == split]))
    return next((name for name in ("perplexity", "accuracy", *metrics) if name in metrics), Goal.metric)


def hardest_common_goal(runs: Iterable[Run], metric: str = "accuracy", split: str = "test") -> Goal:
    """Return the hardest target, with two significant digits, that all runs reached; diverged runs are ignored.

    Args:
        runs: the runs.
        metric: name of the metric.
        split: data that the model was evaluated on.

    Returns:
        The target; the default of `Goal` if no run has values.
    """
    falling = measures.lower_is_better(metric)
    sound = [run for run in runs if run.diverged_from(split) is None]
    seen = [values(run, Goal(metric, split=split))["value"].astype(float) for run in sound]
    histories = [finite for each in seen if len(finite := each[np.isfinite(each)])]
    best = [float(history.min() if falling else history.max()) for history in histories]
    if not best:
        return Goal(metric, split=split)
    weakest = max(best) if falling else min(best)
    scale = 10.0 ** (1 - math.floor(math.log10(abs(weakest)))) if weakest else 1.0
    rounded = math.ceil(weakest * scale) if falling else math.floor(weakest * scale)
    return Goal(metric, rounded / scale, split)
