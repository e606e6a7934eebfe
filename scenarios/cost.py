"""What a scenario will cost, from a dry run of its first rounds: what `netsim check` prints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import pyarrow.compute as pc

from learning.description import LearningDescription, Stop
from scenarios.run import Result, simulate
from scenarios.schema import Scenario, TraceDescription

PROBED_ROUNDS = 2

MOST_PROBED_FLOPS = 2e11
"""Largest round that is run for real to measure wall time: a few seconds of one core."""


@dataclass(frozen=True)
class Cost:
    """Means over the first rounds, each per round."""

    rounds: int | None
    """Rounds of the whole run, where its stop criteria tell."""
    simulated_time_s: float
    uplink_bits: float
    downlink_bits: float
    flops: float
    wall_time_s: float | None
    """Measured; None where a round is too long to try."""
    pretrains: bool
    """Whether a pretraining goes before, which is not in these means: it is found in the store after the first run."""


def predict(scenario: Scenario) -> Cost | None:
    """Cost of a run, or None for one without learning.

    Raises:
        ScenarioError: the scenario does not fit its data.
        RunFailed: a probed round fails, as it does under a scheme that cannot go on without values.
    """
    learning = scenario.learning
    if learning is None:
        return None
    probe = _probe(scenario, learning, rounds=PROBED_ROUNDS, executor="dry")
    reached = probe.reached
    time_s, flops = (
        _sum(probe, table, column) / PROBED_ROUNDS
        for table, column in (("rounds", "latency_s"), ("computations", "flops"))
    )
    return Cost(
        rounds=_rounds(learning.stop, time_s),
        simulated_time_s=time_s,
        uplink_bits=reached.uplink_bits / PROBED_ROUNDS,
        downlink_bits=reached.downlink_bits / PROBED_ROUNDS,
        flops=flops,
        wall_time_s=_probe(scenario, learning, rounds=1, pretraining=None).wall_time_s
        if flops <= MOST_PROBED_FLOPS
        else None,
        pretrains=learning.pretraining is not None,
    )


def _probe(scenario: Scenario, learning: LearningDescription, rounds: int, **changes: Any) -> Result:
    shorter = replace(learning, stop=Stop(rounds=rounds), **changes)
    traffic = scenario.traffic and replace(scenario.traffic, duration_s=None)
    return simulate(replace(scenario, learning=shorter, traffic=traffic, trace=TraceDescription()))


def _sum(result: Result, table: str, column: str) -> float:
    return float(pc.sum(result.table(table)[column]).as_py() or 0)


def _rounds(stop: Stop, latency_s: float) -> int | None:
    """Rounds until a stop criterion holds at the latest, as far as that follows from time and number."""
    by_time = ceil(stop.time_s / latency_s) if stop.time_s is not None and latency_s > 0 else None
    return min((rounds for rounds in (stop.rounds, by_time) if rounds is not None), default=None)
