"""Reading the Parquet part files of one table, complete or still being written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

T = TypeVar("T")

ATTEMPTS = 40
"""Looks at a folder in which files come and go: a run that ends replaces the parts of a table by one merged file."""
PAUSE_S = 0.05
"""Wall seconds between two looks."""

DESCRIPTION = ["table", "rows", "column", "type", "unit", "meaning"]

Where = Sequence[tuple[str, str, Any]]
"""Conditions on rows, all of which hold: ("round", "<=", 10)."""


class NoSuchTable(ValueError, AttributeError):
    """A table that a run does not have, or not yet."""


def written(traces: Path) -> list[str]:
    """Names of the tables that have been written under `traces`."""
    return sorted(folder.name for folder in traces.glob("*/") if _parts(folder))


def read(folder: Path, columns: Sequence[str] | None = None, where: Where | None = None) -> pd.DataFrame:
    """The rows of one table; integers that may be missing become nullable integers, not floats.

    Raises NoSuchTable when `folder` holds none.
    """
    wanted = list(columns) if columns is not None else None
    filters = list(where) if where else None
    table = pa.concat_tables(
        _each(folder, lambda part: pq.read_table(part, columns=wanted, filters=filters, partitioning=None))
    )
    gaps = [field.name for field in table.schema if pa.types.is_integer(field.type) and field.nullable]
    frame: pd.DataFrame = table.to_pandas()  # which turns integers with gaps into floats
    return frame.astype(dict.fromkeys(gaps, "Int64"))


def describe(folder: Path) -> pd.DataFrame:
    """One row for each column of one table: table, rows, column, type, unit, meaning."""
    footers = _each(folder, pq.read_metadata)
    rows = sum(footer.num_rows for footer in footers)
    return pd.DataFrame(
        [
            (folder.name, rows, field.name, str(field.type), _note(field, b"unit"), _note(field, b"meaning"))
            for field in footers[0].schema.to_arrow_schema()
        ],
        columns=DESCRIPTION,
    )


def _note(field: pa.Field, key: bytes) -> str:
    return str((field.metadata or {}).get(key, b""), "utf-8")


def _parts(folder: Path) -> list[Path]:
    return sorted(part for part in folder.glob("*.parquet") if not part.name.startswith("."))


def _each(folder: Path, look: Callable[[Path], T]) -> list[T]:
    """What `look` finds in every file of a table, at an instant when none of them goes."""
    for _ in range(ATTEMPTS):
        parts = _parts(folder)
        if not parts and not any(folder.glob(".*.parquet")):
            break
        try:
            found = [look(part) for part in parts]
        except FileNotFoundError:
            found = []
        if found and all(part.exists() for part in parts):
            return found
        sleep(PAUSE_S)
    tables = ", ".join(written(folder.parent)) or "none so far"
    raise NoSuchTable(f"{folder.parent.parent} has no table {folder.name!r}; the tables it has: {tables}")
