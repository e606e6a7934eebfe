"""Totals of a whole run, for claims."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.measures import mean_of_answers
from analysis.run import Run


def _bits(direction: str) -> Callable[[Run], float]:
    return lambda run: float(run.rounds[f"{direction}link_bits"].sum())


def _memory(run: Run) -> float:
    own = run.computations[run.computations["node_kind"] == "user"]
    return float(own["memory_bytes"].max()) if len(own) else 0.0


def _flops(node_kind: str) -> Callable[[Run], float]:
    return lambda run: float(run.computations.loc[run.computations["node_kind"] == node_kind, "flops"].sum())


def _server_energy(run: Run) -> float:
    """Energy in J of computing on servers; NaN without an energy model of theirs."""
    own = run.computations.loc[run.computations["node_kind"] == "server", "energy_j"]
    return float(own.sum(min_count=1))


def _served(run: Run) -> pd.Series[float]:
    """Latency in s of the requests that were served."""
    return run.requests.loc[run.requests["outcome"] == "served", "latency_s"]


def _decoded(run: Run) -> pd.Series[float]:
    """Duration in s of the passes that decode one token."""
    passes = run.forward_passes[run.forward_passes["position"] > 0]
    return passes["end_s"] - passes["start_s"]


TOTALS: dict[str, Callable[[Run], float]] = {
    "uplink_bits": _bits("up"),
    "downlink_bits": _bits("down"),
    "energy_j": lambda run: float(run.rounds["energy_j"].sum()),
    "simulated_time_s": lambda run: float(run.rounds["end_s"].max()),
    "dropped": lambda run: float(run.rounds["dropped"].sum()),
    "device_memory_bytes": _memory,
    "compute_j": lambda run: float(run.energy["compute_j"].sum()),
    "device_flops": _flops("user"),
    "server_flops": _flops("server"),
    "server_energy_j": _server_energy,
    "request_mean_s": lambda run: float(_served(run).mean()),
    "request_p95_s": lambda run: float(_served(run).quantile(0.95)),
    "served_share": lambda run: float((run.requests["outcome"] == "served").mean()),
    "token_mean_s": lambda run: float(_decoded(run).mean()),
    "token_p95_s": lambda run: float(_decoded(run).quantile(0.95)),
    "answer_accuracy": lambda run: mean_of_answers(run.evaluations, "accuracy"),
    "expert_hit_share": lambda run: float(run.expert_calls["hit"].mean()),
}
"""Totals of a run by name: bits delivered, energy of all users, simulated time, users dropped from rounds, maximum
memory of a job on a user's device, energy of computing on users' devices, FLOPs of users' devices and of the server,
energy of computing on servers; mean and 95th percentile of the latency of requests that were served, share of requests
that were served; mean and 95th percentile of the time of a token that a model with experts decodes, share of its
answers that were correct, and share of expert calls that were hits. NaN where there were no requests, answers or calls,
or no energy model of servers."""


def total(run: Run, name: str) -> float:
    """Return one of TOTALS, or the mean of a decision for `decision NAME`; NaN if no such decision was made."""
    if name in TOTALS:
        return TOTALS[name](run)
    chosen = run.decisions.loc[run.decisions["name"] == name.removeprefix("decision "), "value"]
    return float(chosen.mean()) if len(chosen) else np.nan
