"""What a scenario will cost, from its first rounds, dry and for real: what `netsim check` prints."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import pyarrow.compute as pc

from learning.description import LearningDescription
from learning.executor import EXECUTORS
from learning.executor.dry import NeedsValues
from learning.stop import Stop
from scenarios.build import build, without_values
from scenarios.errors import RunFailed
from scenarios.progress import Tally
from scenarios.run import Result, simulate
from scenarios.schema import Scenario, TraceDescription

PROBED_ROUNDS = 2
TIMED_ROUNDS = 3
TIMED_STEPS = 20
"""Of pretraining."""

MAX_PROBED_FLOPS = 2e11
"""Largest round that is run for real to measure wall time: some seconds of one core."""


@dataclass(frozen=True)
class Cost:
    """Means over the first rounds, each per round; and what pretraining takes beside."""

    rounds: int | None
    """Rounds of the whole run, where its stop criteria tell."""
    simulated_time_s: float
    uplink_bits: float
    downlink_bits: float
    flops: float
    wall_time_s: float | None
    """Measured, with its part of an evaluation; None where a round is too long to try."""
    pretraining_wall_s: float
    """Measured on a few steps, else zero. A run needs none of it where a store has the result."""
    stand_in: str | None = None
    """By what the scheme decided here, where a run decides by values."""


def predict(scenario: Scenario) -> Cost | str:
    """Cost of a run, or why it is not known. What `run` would refuse is refused here: the same world is built.

    Raises:
        ScenarioError: the scenario does not fit its data.
        RunFailed: one of the first rounds fails, as it would in the run.
        KeyboardInterrupt: it was interrupted.
    """
    build(without_values(scenario))  # a pretraining would be done where values are
    learning = scenario.learning
    if learning is None:
        return "no learning: the cost is that of the simulated world alone, and not known before it runs"
    try:
        probe = _probe(scenario, learning, PROBED_ROUNDS, executor="dry")
    except RunFailed as failure:
        if isinstance(failure.__cause__, NeedsValues) and EXECUTORS[learning.executor].computes:
            return f"the cost is unknown: a trial round {failure}"
        raise
    reached = probe.reached
    time_s, flops = (
        _sum(probe, table, column) / reached.rounds
        for table, column in (("rounds", "latency_s"), ("computations", "flops"))
    )
    watch = _timed(scenario, learning) if flops <= MAX_PROBED_FLOPS else None
    return Cost(
        rounds=_rounds(learning.stop, time_s),
        simulated_time_s=time_s,
        uplink_bits=reached.uplink_bits / reached.rounds,
        downlink_bits=reached.downlink_bits / reached.rounds,
        flops=flops,
        wall_time_s=watch.round_s + watch.evaluation_s / learning.evaluate_every if watch else None,
        pretraining_wall_s=watch.step_s * learning.pretraining.steps if watch and learning.pretraining else 0.0,
        stand_in=learning.scheme.stand_in,
    )


class _Stopwatch(Tally):
    """Wall time of a step of pretraining, of a round after the first (if there is one), and of the last evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self._begun_s = self._ended_s = time.monotonic()
        self.step_s = self.round_s = self.evaluation_s = 0.0

    def round_ended(self, row: Mapping[str, Any]) -> None:
        super().round_ended(row)
        now = time.monotonic()
        self.round_s, self._ended_s = (now - self._begun_s) / max(self.rounds - 1, 1), now
        if self.rounds == 1:
            self._begun_s = now

    def evaluated(self, row: Mapping[str, Any]) -> None:
        super().evaluated(row)
        if self.rounds == 0:
            self.step_s = (time.monotonic() - self._begun_s) / TIMED_STEPS
        else:  # what the last round computes is computed when its model is evaluated
            self.evaluation_s = max(time.monotonic() - self._ended_s - self.round_s, 0.0)


def _timed(scenario: Scenario, learning: LearningDescription) -> _Stopwatch:
    """Run the first rounds for real, with one evaluation and a few steps of pretraining."""
    watch, pretraining = _Stopwatch(), learning.pretraining
    shorter = pretraining and replace(pretraining, steps=TIMED_STEPS)
    _probe(scenario, learning, TIMED_ROUNDS, watch, evaluate_every=TIMED_ROUNDS, pretraining=shorter)
    return watch


def _probe(
    scenario: Scenario, learning: LearningDescription, max_rounds: int, observer: Tally | None = None, **changes: Any
) -> Result:
    """The first rounds of the run, and no round that the run has not: one that fails there would be no fault."""
    rounds = min(learning.stop.rounds or max_rounds, max_rounds)
    shorter = replace(learning, stop=replace(learning.stop, rounds=rounds, accuracy=None), **changes)
    traffic = scenario.traffic and replace(scenario.traffic, duration_s=None)
    shortened = replace(scenario, learning=shorter, traffic=traffic, trace=TraceDescription())
    result = simulate(shortened, observer=observer)
    if result.status == "interrupted":
        raise KeyboardInterrupt
    return result


def _sum(result: Result, table: str, column: str) -> float:
    return float(pc.sum(result.table(table)[column]).as_py() or 0)


def _rounds(stop: Stop, latency_s: float) -> int | None:
    """Rounds until a stop criterion holds at the latest, as far as that follows from time and number."""
    by_time = ceil(stop.time_s / latency_s) if stop.time_s is not None and latency_s > 0 else None
    return min((rounds for rounds in (stop.rounds, by_time) if rounds is not None), default=None)
