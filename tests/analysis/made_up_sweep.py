"""Sweeps and runs made up of rounds and evaluations alone: what each spends and reaches is written down by the test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from synthetic_run import write_part

from netsim.tables import EvaluationRow, RoundRow


@dataclass(frozen=True)
class MadeUp:
    """A run each of whose rounds takes 100 bits up and 50 down, and ends at one of the accuracies."""

    latency_s: float | Sequence[float] = 1.0
    accuracies: Sequence[float | None] = (0.5, 0.8, 0.9)
    energy_j: float = 2.0
    status: str = "complete"
    name: str = "made up"
    metric: str = "accuracy"
    beside: Sequence[str] = ()
    """Metrics beside it that have the same values, evaluated before it."""
    losses: Sequence[float] = ()
    """Losses beside these, if any."""
    scenario: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path, seed: int) -> Path:
        """Write the run directory and return its path."""
        path.mkdir(parents=True)
        rounds, evaluations, now = [], [], 0.0
        for number, accuracy in enumerate(self.accuracies):
            latency = self.latency_s if isinstance(self.latency_s, float) else self.latency_s[number]
            rounds.append(RoundRow(number, now, now + latency, latency, 3, 0, 0.0, 100.0, 50.0, self.energy_j))
            now += latency
            metrics = (*self.beside, self.metric)
            evaluations += [EvaluationRow(number, now, "test", metric, accuracy, 360) for metric in metrics]
            evaluations += [EvaluationRow(number, now, "test", "loss", loss, 360) for loss in self.losses[number:][:1]]
        write_part(path, "rounds", rounds)
        write_part(path, "evaluations", evaluations)
        (path / "scenario.yaml").write_text(yaml.safe_dump({"name": self.name, "seed": seed, **self.scenario}))
        (path / "run.json").write_text(json.dumps({"name": self.name, "seed": seed, "status": self.status}))
        return path


def write_sweep(
    path: Path, arms: Mapping[str, Mapping[int, MadeUp]], *, broken: Mapping[tuple[str, int], str | None] | None = None
) -> Path:
    """Write a sweep directory of these runs by label and seed, and of `broken` points with their errors."""
    points = []
    for label, seeds in arms.items():
        for seed, run in seeds.items():
            run.write(path / "points" / label / f"seed-{seed}", seed)
            points.append(_point(label, seed, run.status, None))
    points += [
        _point(label, seed, "failed" if error else "pending", error) for (label, seed), error in (broken or {}).items()
    ]
    path.mkdir(parents=True, exist_ok=True)
    (path / "sweep.json").write_text(json.dumps({"name": "made up", "status": "complete", "points": points}))
    return path


def _point(label: str, seed: int, status: str, error: str | None) -> dict[str, Any]:
    overrides = {"network.bandwidth": label}
    where = f"points/{label}/seed-{seed}"
    return {"label": label, "overrides": overrides, "seed": seed, "path": where, "status": status, "error": error}
