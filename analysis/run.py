"""A run directory as pandas DataFrames, loaded on first use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis import files, measures, parquet
from analysis.files import DamagedRun, Unreadable
from analysis.notebook import html_table
from analysis.parquet import Where
from analysis.views import VIEWS

ENDED = ("complete", "diverged")
"""Statuses of runs that ended by a stop criterion of their scenario, which may be divergence."""

FACTS = {
    "seed": "seed",
    "rounds": "rounds",
    "simulated_time_s": "simulated time (s)",
    "wall_time_s": "wall time (s)",
    "error": "error",
}
"""Fields of run.json that a notebook shows, with their titles."""

EDGE_SERVER = re.compile(r"server\d+")
"""Names of the servers of `compute.edge_servers`."""


class NotARun(FileNotFoundError):
    """The folder does not exist or does not hold a run."""


def load(run_dir: str | Path) -> Run:
    """Load the run in a directory; it may be complete, running, interrupted or failed.

    A table is read on first use and kept; load a running run again to get its new rows.

    Args:
        run_dir: the folder that `netsim run` wrote.

    Raises:
        NotARun: the folder does not exist or has no readable run.json.
    """
    path = Path(run_dir)
    if not path.is_dir():
        raise NotARun(f"{path} is not a folder")
    try:
        return Run(path, files.json_object(path / "run.json"))
    except FileNotFoundError as error:
        raise NotARun(f"{path} is not a run: it has no run.json") from error
    except Unreadable as error:
        raise NotARun(f"{path} is not a run: its run.json {error}") from error


class Run:
    """One run. Each table is an attribute (`run.transfers`, `run.rounds`, ...), a DataFrame in SI units.

    So are the views, tables that are made of these: `activities` (transfers and computations with one set of columns),
    `goodput` (transfers with their rate of delivery) and `model_versions` (weights under an asynchronous policy); see
    `analysis.views`. `describe()` lists columns, units and meanings, and `attrs["units"]` of a DataFrame has the units.
    An attribute for a table that the run does not have raises NoSuchTable; one whose files are damaged raises
    DamagedRun, and the other tables can still be read.
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
    forward_passes: pd.DataFrame
    prefetches: pd.DataFrame
    activities: pd.DataFrame
    goodput: pd.DataFrame
    model_versions: pd.DataFrame

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        """The run directory."""
        self.info = info
        """Content of run.json: name, seed, status, versions, times, and the number of rows of each table."""

    @property
    def name(self) -> str:
        """Name of the scenario, else of the folder."""
        return str(self.info.get("name") or self.path.resolve().name)

    @cached_property
    def scenario_text(self) -> str:
        """Content of scenario.yaml.

        Raises:
            DamagedRun: the file is missing or not text.
        """
        file = self.path / "scenario.yaml"
        try:
            return files.text(file)
        except FileNotFoundError as error:
            raise DamagedRun(f"{self.path} has no scenario.yaml") from error
        except Unreadable as error:
            raise DamagedRun(f"{file} {error}") from error

    @cached_property
    def scenario(self) -> dict[str, Any]:
        """The scenario with all defaults, as plain values.

        Raises:
            DamagedRun: scenario.yaml is missing, or is not a scenario of this program.
        """
        file = self.path / "scenario.yaml"
        try:
            content = yaml.safe_load(self.scenario_text)
        except (yaml.YAMLError, RecursionError) as error:
            where = getattr(error, "problem_mark", None)
            raise DamagedRun(f"{file} is not YAML{f' (line {where.line + 1})' if where else ''}") from error
        if not isinstance(content, dict):
            raise DamagedRun(f"{file} holds no scenario")
        return content

    @property
    def seed(self) -> int:
        """Seed of the run.

        Raises:
            DamagedRun: scenario.yaml cannot be read, or has no seed.
        """
        seed = self.scenario.get("seed")
        if not isinstance(seed, int):
            raise DamagedRun(f"{self.path / 'scenario.yaml'} has no seed")
        return seed

    @property
    def tables(self) -> list[str]:
        """Names of the tables that have been written."""
        return parquet.written(self.path / "traces")

    def table(self, name: str, columns: Sequence[str] | None = None, where: Where | None = None) -> pd.DataFrame:
        """Read a table from the files, or a part of it.

        Args:
            name: name of the table.
            columns: names of the columns to read (default: all).
            where: conditions on the rows to read, such as `[("round", "<=", 10)]` (default: all rows).

        Raises:
            NoSuchTable: the run does not have the table.
        """
        return parquet.read(self.path / "traces" / name, columns, where)

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name.startswith("_"):  # pickle, copy and IPython look these up; no table begins with an underscore
            raise AttributeError(name)
        if name in VIEWS:
            make, tables = VIEWS[name]
            frame = make(*(getattr(self, table) for table in tables))
        else:
            frame = self.table(name)
        setattr(self, name, frame)
        return frame

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.tables, *VIEWS})

    def __repr__(self) -> str:
        return f"<Run {self.name!r} in {self.path}>"

    def _repr_html_(self) -> str:
        """Status, size and folder in a notebook, from run.json alone, so that a damaged table is no hindrance."""
        return html_table(f"{self.name}: {self.info.get('status', 'status unknown')}", self._facts())

    def _facts(self) -> dict[str, str]:
        rows = {name: f"{self.info[key]}" for key, name in FACTS.items() if key in self.info}
        tables = self.info.get("tables")
        if isinstance(tables, dict):
            rows["tables"] = ", ".join(f"{name} ({about['rows']})" for name, about in tables.items() if about["rows"])
        return {**rows, "folder": str(self.path)}

    def describe(self) -> pd.DataFrame:
        """Return one row for each column of each table: table, rows, column, type, unit, meaning.

        A damaged table has one row, without a number of rows and a column, whose meaning is the damage.
        """
        frames = [self._described(name) for name in self.tables]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=parquet.DESCRIPTION)

    def _described(self, name: str) -> pd.DataFrame:
        try:
            return parquet.describe(self.path / "traces" / name)
        except DamagedRun as damage:
            row = (name, None, "", "", "", str(damage))
            return pd.DataFrame([row], columns=parquet.DESCRIPTION)

    def time_to(self, metric: str, target: float, split: str = "test") -> float | None:
        """Return the simulated time, s, at which `metric` first reaches `target`; None if it never does.

        A loss or perplexity reaches the target from above, any other metric from below.

        Raises:
            NotRecorded: the run never evaluated the metric on `split`.
        """
        return measures.time_to(self.evaluations, metric, target, split)

    def diverged_from(self, split: str = "test") -> int | None:
        """Return the round of the first evaluation from which on the loss is not finite; None if the last one is."""
        return measures.diverged_from(self.evaluations, split) if "evaluations" in self.tables else None

    def energy_to(self, metric: str, target: float, split: str = "test") -> float | None:
        """Return the energy of all users, J, until `metric` first reaches `target`; None if it never does.

        Raises:
            NotRecorded: the run never evaluated the metric on `split`.
        """
        time_s = self.time_to(metric, target, split)
        return None if time_s is None else float(measures.totals_until(self.rounds, time_s)["energy_j"])

    def bits_to(self, metric: str, target: float, split: str = "test") -> float | None:
        """Return the number of bits sent up and down until `metric` first reaches `target`; None if it never does.

        Raises:
            NotRecorded: the run never evaluated the metric on `split`.
        """
        time_s = self.time_to(metric, target, split)
        if time_s is None:
            return None
        return float(measures.totals_until(self.rounds, time_s)[["uplink_bits", "downlink_bits"]].sum())

    def value_at(
        self,
        metric: str,
        *,
        time_s: float | None = None,
        energy_j: float | None = None,
        bits: float | None = None,
        split: str = "test",
    ) -> float | None:
        """Return the latest value of a metric within a budget, such as the accuracy at equal energy of several runs.

        Args:
            metric: name of the metric.
            time_s: at most this simulated time, s.
            energy_j: at most this energy of all users, J, in the rounds that have ended.
            bits: at most this number of bits sent up and down in the rounds that have ended.
            split: data that the model was evaluated on.

        Returns:
            The value; None if the budget was exceeded before the first evaluation. Without a budget, the last value.

        Raises:
            NotRecorded: the run never evaluated the metric on `split`.
        """
        limits = {"time_s": time_s, "energy_j": energy_j, "bits": bits}
        budget = {name: limit for name, limit in limits.items() if limit is not None}
        return measures.value_at(self.evaluations, self.rounds, metric, budget, split)

    def queue_length(self, node: str = "server") -> pd.Series[int]:
        """Return the number of jobs and transfers that wait at a node, by `time_s`, from each change to the next.

        Raises:
            NotRecorded: there is no activity at such a node; the message lists the nodes.
        """
        return measures.queue_length(self.activities, node)

    def round_latency(self) -> pd.Series[float]:
        """Return mean_s, median_s, p95_s (95th percentile) and max_s of the round latency, s."""
        return measures.round_latency(self.rounds)

    def time_by_cause(self) -> pd.DataFrame:
        """Return time on the rounds' critical paths, s, and its share, by cause."""
        return measures.time_by(self.critical_path, ["cause"])

    def time_by_user(self) -> pd.DataFrame:
        """Return time on the rounds' critical paths, s, its share, and the number of rounds decided, by user."""
        return measures.time_by_user(self.critical_path)

    def utilisation(self) -> pd.DataFrame:
        """Return busy time, jobs, mean waiting time and utilisation of each processor over the simulated time."""
        compute = self.scenario["compute"]
        edge = compute.get("edge_servers") or {"slots": 1}
        slots = {
            name: edge["slots"] for name in map(str, self.computations["node"].unique()) if EDGE_SERVER.fullmatch(name)
        }
        slots |= {name: site["slots"] for name, site in (compute.get("sites") or {}).items()}
        slots["server"] = compute["servers"]["slots"]
        end_s = pd.concat([self.rounds["end_s"], self.computations["end_s"]]).max()
        return measures.utilisation(self.computations, float(end_s), slots)

    def requests_by(self, *columns: str | Sequence[str]) -> pd.DataFrame:
        """Return numbers of requests by outcome and latency percentiles, s, grouped by columns (default: stream).

        Args:
            columns: names of columns of `requests`, each by itself or as a list.

        Raises:
            NotRecorded: the table has no such column.
        """
        return measures.requests_by(self.requests, _names(columns) or ["stream"])

    def pass_time_by(self, *columns: str | Sequence[str]) -> pd.DataFrame:
        """Return numbers of forward passes, mean and 95th percentile of their time, s, and means of its parts, s.

        The mean of prefill passes is the time to first token without the request's wait, that of decode passes the time
        per output token.

        Args:
            columns: names of columns of `forward_passes`, or `phase`, which is prefill or decode, each by itself or as
                a list (default: stream and phase).

        Raises:
            NotRecorded: the table has no such column.
        """
        return measures.pass_time_by(measures.with_phase(self.forward_passes), _names(columns) or ["stream", "phase"])

    def energy_by_user(self) -> pd.DataFrame:
        """Return the energy of each user, J, by component: transmit, receive, compute, idle, tail, and their total."""
        return measures.energy_by_user(self.energy)

    def participation(self) -> pd.Series[float]:
        """Return the mean number of participants of a round, and the number and share of users that were dropped."""
        return measures.participation(self.rounds)


def _names(columns: Sequence[str | Sequence[str]]) -> list[str]:
    """Names of columns that are given one by one, as lists, or both."""
    return [name for given in columns for name in ([given] if isinstance(given, str) else given)]
