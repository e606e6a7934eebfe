"""Reading the Parquet part files of one table, complete or still being written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

T = TypeVar("T")

ATTEMPTS = 10
"""Times a table is read anew because a file vanished meanwhile: a run that ends merges its parts into one file."""

DESCRIPTION = ["table", "rows", "column", "type", "unit", "meaning"]

Where = Sequence[tuple[str, str, Any]]
"""Conditions on rows, all of which hold: ("round", "<=", 10)."""


class NoSuchTable(ValueError, AttributeError):
    """A table that a run does not have, or not yet."""


def written(traces: Path) -> list[str]:
    """Names of the tables that have been written under `traces`."""
    return sorted(folder.name for folder in traces.glob("*/") if _parts(folder))


def read(folder: Path, columns: Sequence[str] | None = None, where: Where | None = None) -> pd.DataFrame:
    """The rows of one table; integers that may be absent become nullable integers instead of floats.

    Raises NoSuchTable when `folder` holds none.
    """
    wanted = list(columns) if columns is not None else None
    filters = list(where) if where else None
    table = pa.concat_tables(
        _each(folder, lambda part: pq.read_table(part, columns=wanted, filters=filters, partitioning=None))
    )
    gaps = [field.name for field in table.schema if pa.types.is_integer(field.type) and table[field.name].null_count]
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
    return sorted(folder.glob("*.parquet"))


def _each(folder: Path, look: Callable[[Path], T]) -> list[T]:
    """What `look` finds in every part file, all of them from one instant of the folder's life."""
    for _ in range(ATTEMPTS):
        parts = _parts(folder)
        if not parts:
            raise NoSuchTable(_missing(folder))
        try:
            found = [look(part) for part in parts]
        except FileNotFoundError:
            continue
        if all(part.exists() for part in parts):
            return found
    raise NoSuchTable(f"the files of table {folder.name!r} in {folder.parent.parent} keep changing; try again")


def _missing(folder: Path) -> str:
    run_dir = folder.parent.parent
    tables = ", ".join(written(folder.parent)) or "none so far"
    return f"{run_dir} has no table {folder.name!r}; the tables it has: {tables}"
