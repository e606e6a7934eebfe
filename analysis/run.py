"""A run directory as pandas DataFrames, loaded when they are asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis import measures, parquet
from analysis.parquet import Where

ENDED = ("complete", "diverged")
"""Statuses of runs that came to the end that their scenarios ask for: `diverged` where that was to stop there."""

EDGE_SERVER = re.compile(r"server\d+")
"""Names of the servers of `compute.edge_servers`."""


class NotARun(FileNotFoundError):
    """A folder that holds no run."""


def load(run_dir: str | Path) -> Run:
    """The run in `run_dir`, whether complete, still going on, interrupted or dead.

    Tables are read on first use and then kept: load the run again to see what it has written since.

    Raises NotARun when the folder does not exist or holds no run.
    """
    path = Path(run_dir)
    if not path.is_dir():
        raise NotARun(f"{path} is not a folder")
    return Run(path, _information(path), _text(path, "scenario.yaml"))


class Run:
    """One run: every table is an attribute (`run.transfers`, `run.rounds`, ...), a DataFrame in SI units.

    `describe()` tells columns, units and meanings. A table that this run does not have raises NoSuchTable.
    """

    users: pd.DataFrame
    transfers: pd.DataFrame
    computations: pd.DataFrame
    rounds: pd.DataFrame
    evaluations: pd.DataFrame
    critical_path: pd.DataFrame
    energy: pd.DataFrame
    decisions: pd.DataFrame
    expert_calls: pd.DataFrame
    requests: pd.DataFrame

    def __init__(self, path: Path, info: dict[str, Any], scenario_text: str) -> None:
        self.path = path
        """The run directory."""
        self.info = info
        """run.json: name, seed, status, versions, times, and the rows of each table."""
        self.scenario_text = scenario_text
        """scenario.yaml as it stands."""

    @property
    def name(self) -> str:
        """What the scenario is called, else the folder."""
        return str(self.info.get("name") or self.path.resolve().name)

    @cached_property
    def scenario(self) -> dict[str, Any]:
        """The resolved scenario, every default filled in."""
        return dict(yaml.safe_load(self.scenario_text))

    @property
    def tables(self) -> list[str]:
        """Names of the tables that have been written."""
        return parquet.written(self.path / "traces")

    def table(self, name: str, columns: Sequence[str] | None = None, where: Where | None = None) -> pd.DataFrame:
        """One table read afresh; of a long run perhaps some columns or rows only: `where=[("round", "<=", 10)]`.

        Raises NoSuchTable when the run has no such table.
        """
        return parquet.read(self.path / "traces" / name, columns, where)

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name.startswith("_"):  # what pickle, copy and IPython ask for; never a table
            raise AttributeError(name)
        frame = self.table(name)
        setattr(self, name, frame)
        return frame

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.tables})

    def __repr__(self) -> str:
        return f"<Run {self.name!r} in {self.path}>"

    def describe(self) -> pd.DataFrame:
        """One row for each column of each table: table, rows, column, type, unit, meaning."""
        frames = [parquet.describe(self.path / "traces" / name) for name in self.tables]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=parquet.DESCRIPTION)

    def time_to(self, metric: str, target: float, split: str = "test") -> float | None:
        """Simulated seconds until `metric` first reaches `target`, or None if it never does."""
        return measures.time_to(self.evaluations, metric, target, split)

    def diverged_from(self, split: str = "test") -> int | None:
        """Round of the first evaluation since which the loss has not been finite; None where the last one is."""
        return measures.diverged_from(self.evaluations, split) if "evaluations" in self.tables else None

    def energy_to(self, metric: str, target: float, split: str = "test") -> float | None:
        """Joules that all users together have spent when `metric` first reaches `target`, or None."""
        time_s = self.time_to(metric, target, split)
        return None if time_s is None else float(measures.spent_until(self.rounds, time_s)["energy_j"])

    def bits_to(self, metric: str, target: float, split: str = "test") -> float | None:
        """Bits sent, uplink and downlink, when `metric` first reaches `target`, or None."""
        time_s = self.time_to(metric, target, split)
        if time_s is None:
            return None
        return float(measures.spent_until(self.rounds, time_s)[["uplink_bits", "downlink_bits"]].sum())

    def round_latency(self) -> pd.Series[float]:
        """Mean, median, 95th percentile and greatest round latency in seconds."""
        return measures.round_latency(self.rounds)

    def time_by_cause(self) -> pd.DataFrame:
        """Seconds on the rounds' critical paths by cause: what the rounds' time went into."""
        return measures.time_by(self.critical_path, ["cause"])

    def time_by_user(self) -> pd.DataFrame:
        """Seconds on the rounds' critical paths by user, and how many rounds each user decided."""
        return measures.time_by_user(self.critical_path)

    def utilisation(self) -> pd.DataFrame:
        """Busy share of every processor over the simulated time."""
        compute = self.scenario["compute"]
        edge = compute.get("edge_servers") or {"slots": 1}
        slots = {
            name: edge["slots"] for name in map(str, self.computations["node"].unique()) if EDGE_SERVER.fullmatch(name)
        }
        slots |= {name: site["slots"] for name, site in (compute.get("sites") or {}).items()}
        slots["server"] = compute["servers"]["slots"]
        end_s = pd.concat([self.rounds["end_s"], self.computations["end_s"]]).max()
        return measures.utilisation(self.computations, float(end_s), slots)

    def requests_by(self, *columns: str) -> pd.DataFrame:
        """Requests by columns of `requests`, by stream if none is named: how they ended, and latency percentiles."""
        return measures.requests_by(self.requests, list(columns or ("stream",)))

    def energy_by_user(self) -> pd.DataFrame:
        """Joules by user and component: transmit, receive, compute, idle, and their total."""
        return measures.energy_by_user(self.energy)

    def participation(self) -> pd.Series[float]:
        """Mean participants a round, and how many participations were dropped."""
        return measures.participation(self.rounds)


def _information(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(_text(path, "run.json"))
    except json.JSONDecodeError as error:
        raise NotARun(f"{path} is not a run: its run.json is not JSON ({error})") from error
    if not isinstance(info, dict):
        raise NotARun(f"{path} is not a run: its run.json holds no object")
    return info


def _text(path: Path, name: str) -> str:
    try:
        return (path / name).read_text("utf-8")
    except FileNotFoundError as error:
        raise NotARun(f"{path} is not a run: it has no {name}") from error
