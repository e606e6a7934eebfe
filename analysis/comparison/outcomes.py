"""What one run achieved: the numbers that runs are compared by, and how a reader is told of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from analysis import measures
from analysis.run import Run


class Outcome(NamedTuple):
    """One number of one run."""

    value: float
    reached: bool = True
    """Where false, the target was not reached before the last evaluation, when `value` had been spent."""


@dataclass(frozen=True)
class Goal:
    """The learning target up to which time, energy and bits are counted."""

    metric: str = "accuracy"
    target: float = 0.8
    split: str = "test"

    def __str__(self) -> str:
        if self.metric == "accuracy":
            return f"{100 * self.target:.4g}% {self.metric}"
        return f"{self.metric} {self.target:.4g}"


@dataclass(frozen=True)
class Measure:
    """One row group of a comparison; in the texts {goal} and {metric} are filled in, {amount} is the difference."""

    title: str
    unit: str
    less: str
    more: str
    relative: bool = True
    """Whether differences read best as a share of the reference."""


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
}
"""What runs are compared by, in the order of the tables."""


def observe(run: Run, goal: Goal) -> dict[str, Outcome]:
    """The outcomes of a run, by the names of MEASURES, and `late_value`; those that it did not record are absent.

    Raises NotRecorded when the run evaluated other metrics, but never the goal's.
    """
    return {**_learning(run, goal), **_latency(run)}


def _learning(run: Run, goal: Goal) -> dict[str, Outcome]:
    history = values(run, goal)
    if history.empty:
        return {}
    time_s = measures.time_to(run.evaluations, goal.metric, goal.target, goal.split)
    reached = time_s is not None
    until_s = float(history["time_s"].iloc[-1]) if time_s is None else time_s
    spent = measures.spent_until(run.rounds, until_s)
    return {
        "time_to_target_s": Outcome(until_s, reached),
        "energy_to_target_j": Outcome(float(spent["energy_j"]), reached),
        "bits_to_target": Outcome(float(spent[["uplink_bits", "downlink_bits"]].sum()), reached),
        "final_value": Outcome(float(history["value"].iloc[-1])),
        "late_value": Outcome(measures.late(history["value"])),
    }


def _latency(run: Run) -> dict[str, Outcome]:
    if "rounds" not in run.tables or run.rounds.empty:
        return {}
    latency = run.round_latency()
    return {
        "mean_latency_s": Outcome(float(latency["mean_s"])),
        "p95_latency_s": Outcome(float(latency["p95_s"])),
    }


def values(run: Run, goal: Goal) -> pd.DataFrame:
    """The goal's evaluations that have a value, in order of time; none of a dry run, or of one that learns nothing."""
    if "evaluations" not in run.tables or run.evaluations.empty:
        return pd.DataFrame(columns=["time_s", "value"])
    return measures.metric_history(run.evaluations, goal.metric, goal.split).dropna(subset="value")


def within_reach(runs: Iterable[Run], metric: str = "accuracy", split: str = "test") -> Goal:
    """The hardest target, to two digits, that each of the runs reached at some time."""
    falling = measures.falls(metric)
    histories = [history for run in runs if len(history := values(run, Goal(metric, split=split))["value"])]
    best = [float(history.min() if falling else history.max()) for history in histories]
    if not best:
        return Goal(metric, split=split)
    weakest = max(best) if falling else min(best)
    scale = 10.0 ** (1 - math.floor(math.log10(abs(weakest)))) if weakest else 1.0
    rounded = math.ceil(weakest * scale) if falling else math.floor(weakest * scale)
    return Goal(metric, rounded / scale, split)
