"""Scalars of a run for an experiment tracker, while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from analysis.tensorboard import OF_ROUNDS
from scenarios.progress import Observer


class ScalarLog(Observer):
    """Observer that hands scalars to the log function of an experiment tracker as soon as they are known.

    `wandb.log` and `trackio.log` are such functions; `mlflow.log_metrics` needs a `step` beside the numbers. After each
    round they receive its latency, energy, bits and participants, after each evaluation its value, with names as in
    `rounds/latency_s` and `test/accuracy`, and with both the numbers `round` and `time_s`, the simulated time in
    seconds, as axes. Evaluations of single users and null values are left out.
    """

    def __init__(self, log: Callable[[dict[str, float]], Any]) -> None:
        """Log through this function, which is called with numbers by name."""
        self.log = log

    def round_ended(self, row: Mapping[str, Any]) -> None:
        self._log(row["round"], row["end_s"], {f"rounds/{name}": row[name] for name in OF_ROUNDS})

    def evaluated(self, row: Mapping[str, Any]) -> None:
        if row["user"] is None:
            self._log(row["round"], row["time_s"], {f"{row['split']}/{row['metric']}": row["value"]})

    def _log(self, round: int, time_s: float, values: Mapping[str, float | None]) -> None:
        known = {name: float(value) for name, value in values.items() if value is not None}
        if known:
            self.log({"round": float(round), "time_s": float(time_s), **known})
