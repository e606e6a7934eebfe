"""What lies in a run directory, from the Parquet files alone: what `netsim describe` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scenarios.directory import record
from scenarios.errors import ScenarioError


@dataclass(frozen=True)
class Column:
    """A column of a table: its type, unit and meaning as its Parquet metadata say."""

    name: str
    kind: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Contents:
    """A table in a run directory."""

    name: str
    rows: int
    columns: tuple[Column, ...]


def describe(run: Path) -> Iterator[Contents]:
    """The tables of a run, finished or not.

    Raises:
        ScenarioError: there is no run.
    """
    if record(run) is None:
        raise ScenarioError(f"{run}: found no run there; name the folder that `netsim run` wrote")
    for folder in sorted(folder for folder in (run / "traces").iterdir() if folder.is_dir()):
        files = [pq.ParquetFile(file) for file in sorted(folder.glob("*.parquet"))]
        if files:
            rows = sum(file.metadata.num_rows for file in files)
            yield Contents(folder.name, rows, tuple(_column(field) for field in files[0].schema_arrow))


def _column(field: pa.Field) -> Column:
    about = field.metadata or {}
    unit, meaning = (about.get(key, b"").decode() for key in (b"unit", b"meaning"))
    return Column(field.name, str(field.type), unit, meaning)
