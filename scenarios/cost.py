"""Prediction of the cost of a scenario from its first rounds, without and with values: `netsim check`."""

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
from learning.store import Store
from netsim.tables import TABLES
from scenarios.build import build, without_values
from scenarios.errors import RunFailed
from scenarios.limits import beyond_events, check_sizes
from scenarios.progress import RunningTotals
from scenarios.result import Result
from scenarios.run import simulate
from scenarios.schema import Scenario, TraceDescription

PROBED_ROUNDS = 2
"""Rounds that are simulated without values, for simulated time, bits and FLOPs."""
TIMED_ROUNDS = 3
"""Rounds that are run with values, for wall time."""
TIMED_STEPS = 20
"""Steps of pretraining that are run to measure their wall time."""

MAX_FIRST_ROUND_S = 60.0
"""Wall time in seconds after which a first round without values that has not ended is given up."""

MAX_PROBED_FLOPS = 2e11
"""FLOPs of the largest round that is run with values to measure wall time: some seconds of one core."""


@dataclass(frozen=True)
class RunCost:
    """Predicted cost of a run: means per round over its first rounds, and the wall time of pretraining."""

    rounds: int | None
    """Maximum number of rounds of the run; None if its stop criteria do not bound it."""
    simulated_time_s: float
    """Simulated time per round."""
    uplink_bits: float
    """Bits sent by all users per round."""
    downlink_bits: float
    """Bits sent to all users per round."""
    events: float
    """Events of the simulation per round."""
    tables_bytes: float
    """Size per round of the rows of all tables in memory; files are compressed."""
    flops: float
    """FLOPs of users and servers per round."""
    wall_time_s: float | None
    """Measured wall time per round, with its share of an evaluation; None if a round is too long to measure."""
    pretraining_wall_s: float
    """Wall time of all steps of pretraining, extrapolated; 0 without pretraining. None of it is spent if the result
    cache has the pretrained model."""
    stand_in: str | None = None
    """Replacement for the computed values by which the scheme decides in a run; None if it reads none."""


def predict(scenario: Scenario, store: Store | None = None) -> RunCost | str:
    """Predict the cost of a run, or say why that is not possible.

    What `simulate` would reject is rejected here as well: the same world is built.

    Args:
        scenario: the run.
        store: result cache, of which only the shape profiles are used, as computing values is timed.

    Returns:
        The cost, or a sentence that says why it is unknown.

    Raises:
        ScenarioError: the scenario does not fit its data or its limits.
        RunFailed: one of the first rounds fails, as it would in the run.
        KeyboardInterrupt: the prediction was interrupted.
    """
    check_sizes(scenario)
    build(without_values(scenario))  # with values, pretraining would be computed
    learning = scenario.learning
    if learning is None:
        return "no learning: the cost is that of the simulated world alone, and not known before it runs"
    try:
        probe = _probe(scenario, learning, PROBED_ROUNDS, _Patience(), store=store, executor="dry")
    except RunFailed as failure:
        if isinstance(failure.__cause__, FirstRoundTooLong):
            return f"the cost is unknown: {failure.__cause__}"
        if isinstance(failure.__cause__, NeedsValues) and EXECUTORS[learning.executor].computes:
            return f"the cost is unknown: a trial round {failure}"
        raise
    reached = probe.reached
    events, tables_bytes = probe.events / reached.rounds, sum(probe.table(name).nbytes for name in TABLES)
    time_s, flops = (
        _sum(probe, table, column) / reached.rounds
        for table, column in (("rounds", "latency_s"), ("computations", "flops"))
    )
    rounds = _rounds(learning.stop, time_s)
    if rounds is not None and not learning.stop.by_values and events * rounds > scenario.limits.events:
        by_rounds = rounds == learning.stop.rounds
        what = f"{rounds} rounds" if by_rounds else f"{learning.stop.time_s:.4g} s"
        path = ("learning", "stop", "rounds" if by_rounds else "time_s")
        raise beyond_events(path, what, events * rounds, scenario.limits)
    watch = _timed(scenario, learning) if flops <= MAX_PROBED_FLOPS else None
    return RunCost(
        rounds=rounds,
        simulated_time_s=time_s,
        uplink_bits=reached.uplink_bits / reached.rounds,
        downlink_bits=reached.downlink_bits / reached.rounds,
        events=events,
        tables_bytes=tables_bytes / reached.rounds,
        flops=flops,
        wall_time_s=watch.round_s + watch.evaluation_s / learning.evaluate_every if watch else None,
        pretraining_wall_s=watch.step_s * _pretraining_steps(learning) if watch else 0.0,
        stand_in=learning.scheme.stand_in,
    )


class FirstRoundTooLong(Exception):
    """The first round of a run has not ended within the time that is spent on a prediction."""


class _Patience(RunningTotals):
    """Gives a run up whose first round takes longer than MAX_FIRST_ROUND_S of wall time."""

    def __init__(self) -> None:
        super().__init__()
        self._until_s = time.monotonic() + MAX_FIRST_ROUND_S

    def ticked(self, time_s: float) -> None:
        super().ticked(time_s)
        if self.rounds == 0 and time.monotonic() >= self._until_s:
            raise FirstRoundTooLong(
                f"after {MAX_FIRST_ROUND_S:.0f} s without computing any values, at {time_s:.4g} s of simulated time, "
                "its first round has not ended; a device or a link may be slower than was meant"
            )


class _Stopwatch(RunningTotals):
    """Wall time of one step of each pretraining, of one round after the first, and of the last evaluation."""

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
    """Run the first rounds with values, with one evaluation and a few steps of pretraining."""
    watch, pretraining = _Stopwatch(), learning.pretraining
    shorter: dict[str, Any] = {
        "pretraining": pretraining and replace(pretraining, steps=TIMED_STEPS),
        "part_pretraining": {
            part: replace(described, steps=TIMED_STEPS) for part, described in learning.part_pretraining.items()
        },
    }
    _probe(scenario, learning, TIMED_ROUNDS, watch, evaluate_every=TIMED_ROUNDS, **shorter)
    return watch


def _pretraining_steps(learning: LearningDescription) -> int:
    """Steps of the longest pretraining, of the model or of a part of it; 0 without any."""
    whole = [learning.pretraining] if learning.pretraining else []
    return max((described.steps for described in (*whole, *learning.part_pretraining.values())), default=0)


def _probe(
    scenario: Scenario,
    learning: LearningDescription,
    max_rounds: int,
    observer: RunningTotals | None = None,
    store: Store | None = None,
    **changes: Any,
) -> Result:
    """Run at most `max_rounds` rounds, and none after the last round of the run itself, where it might fail."""
    rounds = min(learning.stop.rounds or max_rounds, max_rounds)
    shorter = replace(learning, stop=learning.stop.without_values(rounds), **changes)
    traffic = scenario.traffic and replace(scenario.traffic, duration_s=None)
    shortened = replace(scenario, learning=shorter, traffic=traffic, trace=TraceDescription())
    result = simulate(shortened, observer=observer, store=store)
    if result.status == "interrupted":
        raise KeyboardInterrupt
    return result


def _sum(result: Result, table: str, column: str) -> float:
    return float(pc.sum(result.table(table)[column]).as_py() or 0)


def _rounds(stop: Stop, latency_s: float) -> int | None:
    """Maximum number of rounds, from the limits on rounds and on simulated time; None if neither is given."""
    by_time = ceil(stop.time_s / latency_s) if stop.time_s is not None and latency_s > 0 else None
    return min((rounds for rounds in (stop.rounds, by_time) if rounds is not None), default=None)
