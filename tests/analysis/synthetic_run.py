"""A made-up run in the tables that the simulator writes, by a closed form: every measure has a known answer.

Each round: the model is broadcast in 2 s; then user k works `steps` mini-batches of 8 + 3.5 k s each: forward 1 + k,
uplink 2, queue 0.5 k, server 1, downlink 1, backward 3 + 2 k, of which one second is straggling; it returns its model
in 1 s; when the slowest is done, the server aggregates for 0.5 s.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from netsim.tables import (
    TABLES,
    ComputationRow,
    CriticalPathRow,
    EnergyRow,
    EvaluationRow,
    RoundRow,
    TransferRow,
    UserRow,
)

SCENARIO = {
    "name": "synthetic",
    "seed": 7,
    "compute": {"servers": {"slots": 4}},
    "learning": {"scheme": {"name": "sfl_v1"}, "executor": "batched"},
}

MODEL_BITS, SMASHED_BITS, GRADIENT_BITS = 4e6, 1e6, 8e5


@dataclass
class Synthetic:
    """How large the run is, and how far it got."""

    users: int = 3
    rounds: int = 2
    steps: int = 2
    status: str = "complete"
    values: bool = True
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: {name: [] for name in TABLES})

    def write(self, path: Path) -> Path:
        """Write the run directory and return its path."""
        for user in range(self.users):
            row = UserRow(
                user, 0, 10.0 * user, 0.0, 10.0 * user, 80.0 + user, 1e9 / (1 + user), 100, 0.0, True, 23.0, 80.0 + user
            )
            self.rows["users"].append(row)
        for number in range(self.rounds):
            self._round(number, number * self.latency_s)
        path.mkdir(parents=True, exist_ok=True)
        for name, rows in self.rows.items():
            write_part(path, name, rows)
        (path / "scenario.yaml").write_text(yaml.safe_dump(SCENARIO))
        (path / "run.json").write_text(json.dumps({"name": "synthetic", "seed": 7, "status": self.status}))
        return path

    def step_s(self, user: int) -> float:
        """Seconds of one mini-batch of a user."""
        return 8.0 + 3.5 * user

    @property
    def latency_s(self) -> float:
        """Latency of every round: that of the user with the greatest number."""
        return 2.0 + self.steps * self.step_s(self.users - 1) + 1.0 + 0.5

    def _round(self, number: int, start_s: float) -> None:
        end_s = start_s + self.latency_s
        for user in range(self.users):
            self._user(number, user, start_s)
        self._job(number, None, "server", "aggregation", end_s - 0.5, 0.0, 0.5)
        self.rows["critical_path"] += self._path(number, start_s)
        up = self.users * (MODEL_BITS + self.steps * SMASHED_BITS)
        down = MODEL_BITS + self.users * self.steps * GRADIENT_BITS
        energy_j = sum(sum(row[4:9]) for row in self.rows["energy"] if row[0] == number)
        latency_s = self.latency_s
        self.rows["rounds"].append(RoundRow(number, start_s, end_s, latency_s, self.users, 1, 0.0, up, down, energy_j))
        for metric, value in (("accuracy", 1 - 0.5 ** (number + 1)), ("loss", 0.5 ** (number + 1))):
            shown = value if self.values else None
            self.rows["evaluations"].append(EvaluationRow(number, end_s, "test", metric, shown, 360))

    def _user(self, number: int, user: int, start_s: float) -> None:
        self._transfer(number, user, "down", "model", MODEL_BITS, start_s, 2.0, receivers=self.users)
        now = start_s + 2.0
        for _ in range(self.steps):
            self._job(number, user, "user", "client_forward", now, 0.0, 1.0 + user)
            self._transfer(number, user, "up", "activation", SMASHED_BITS, now + 1 + user, 2.0)
            self._job(number, user, "server", "server_step", now + 3 + user, 0.5 * user, 1.0)
            self._transfer(number, user, "down", "gradient", GRADIENT_BITS, now + 4 + 1.5 * user, 1.0)
            self._job(number, user, "user", "client_backward", now + 5 + 1.5 * user, 0.0, 3.0 + 2 * user)
            now += self.step_s(user)
        self._transfer(number, user, "up", "model", MODEL_BITS, now, 1.0)
        end_s = start_s + self.latency_s
        sending, receiving, computing = 2.0 * self.steps + 1, 2.0 + self.steps, (4.0 + 3 * user) * self.steps
        idle = self.latency_s - sending - receiving - computing
        spent = (sending, 0.5 * receiving, 2 * computing, 0.1 * idle)  # at 1, 0.5, 2 and 0.1 W
        self.rows["energy"].append(EnergyRow(number, user, start_s, end_s, *spent))

    def _job(
        self, number: int, user: int | None, node_kind: str, kind: str, start_s: float, wait_s: float, service_s: float
    ) -> None:
        node = f"user {user}" if node_kind == "user" else "server"
        end_s = start_s + wait_s + service_s
        row = (number, user, node, node_kind, kind, 1e9, start_s, end_s, wait_s, service_s, 1.0, 0, None, False)
        self.rows["computations"].append(ComputationRow(*row))

    def _transfer(
        self, number: int, user: int, direction: str, kind: str, bits: float, start_s: float, airtime_s: float,
        receivers: int = 1,
    ) -> None:  # fmt: skip
        end_s = start_s + airtime_s
        sent = (number, user, "station 0", direction, kind, bits, start_s, end_s, 0.0, airtime_s, 1, 0.0)
        self.rows["transfers"].append(TransferRow(*sent, 20.0, bits / airtime_s, 1.0, receivers))

    def _path(self, number: int, start_s: float) -> list[CriticalPathRow]:
        """The slowest user's chain, segment by segment."""
        last = self.users - 1
        segments: list[tuple[int | None, str, str, float]] = [(last, "model", "airtime", 2.0)]
        for _ in range(self.steps):
            segments += [
                (last, "client_forward", "compute", 1.0 + last),
                (last, "activation", "airtime", 2.0),
                *([(last, "server_step", "queue", 0.5 * last)] if last else []),
                (last, "server_step", "compute", 1.0),
                (last, "gradient", "airtime", 1.0),
                (last, "client_backward", "compute", 2.0 + 2 * last),
                (last, "client_backward", "straggle", 1.0),
            ]
        segments += [(last, "model", "airtime", 1.0), (None, "aggregation", "compute", 0.5)]
        rows, now = [], start_s
        for position, (user, kind, cause, duration_s) in enumerate(segments):
            rows.append(CriticalPathRow(number, position, user, "", kind, cause, now, now + duration_s, duration_s))
            now += duration_s
        return rows


def write_part(run_dir: Path, table: str, rows: list[tuple[Any, ...]], part: str = "part-000000") -> Path:
    """Write one Parquet part of a table and return its path."""
    file = run_dir / "traces" / table / f"{part}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    schema = TABLES[table]
    content = [dict(zip(schema.names, row, strict=True)) for row in rows]
    pq.write_table(pa.Table.from_pylist(content, schema=schema), file)
    return file
