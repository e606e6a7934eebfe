"""Reading the Parquet part files of one table, complete or still being written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.columns import fault
from analysis.files import DamagedRun

T = TypeVar("T")

ATTEMPTS = 40
"""Attempts to read a table while its files change: a run that ends merges the parts of each table into one file."""
PAUSE_S = 0.05
"""Wall time between two attempts."""

DESCRIPTION = ["table", "rows", "column", "type", "unit", "meaning"]
"""Columns of `describe`."""

UNITS = "units"
"""Key of `DataFrame.attrs` for the unit of each column."""

CATEGORIES = ("direction", "kind", "node", "node_kind", "cause")
"""Columns of few different texts, which are read as categories: they take less memory and are grouped faster."""

Where = Sequence[tuple[str, str, Any]]
"""Conditions that selected rows all satisfy, as (column, operator, value): ("round", "<=", 10)."""


class NoSuchTable(ValueError, AttributeError):
    """A run does not have the table, or has not written it yet."""


def written(traces: Path) -> list[str]:
    """Return the names of the tables that have been written to the folder `traces`."""
    return sorted(folder.name for folder in traces.glob("*/") if _parts(folder))


def read(folder: Path, columns: Sequence[str] | None = None, where: Where | None = None) -> pd.DataFrame:
    """Read one table, with the unit of each column in `attrs["units"]`.

    Integers that may be missing become nullable integers, not floats, and CATEGORIES become categories.

    Args:
        folder: folder with the Parquet files of the table.
        columns: names of the columns to read (default: all).
        where: conditions on the rows to read (default: all rows).

    Raises:
        NoSuchTable: the folder has no files of a table.
        DamagedRun: a file is no Parquet file, is of another table, or lacks a column that is asked for or that this
            package needs.
    """
    wanted = list(columns) if columns is not None else None
    filters = list(where) if where else None

    def one(part: Path) -> pa.Table:
        with _faults_of(part):
            if found := fault(folder.name, pq.read_schema(part), wanted):
                raise DamagedRun(f"{part} {found}: another version wrote it, or it is damaged")
            return pq.read_table(part, columns=wanted, filters=filters, partitioning=None)

    parts = _from_parts(folder, one)
    with _faults_of(folder):
        return in_pandas(pa.concat_tables(parts))


def in_pandas(table: pa.Table) -> pd.DataFrame:
    """Return a table as `read` does."""
    gaps = [field.name for field in table.schema if pa.types.is_integer(field.type) and field.nullable]
    texts = [field.name for field in table.schema if field.name in CATEGORIES and pa.types.is_string(field.type)]
    frame: pd.DataFrame = table.to_pandas(categories=texts)  # turns integers with missing values into floats
    frame = frame.astype(dict.fromkeys(gaps, "Int64"))
    frame.attrs = {UNITS: {field.name: _note(field, b"unit") for field in table.schema}}
    return frame


def describe(folder: Path) -> pd.DataFrame:
    """Return one row for each column of a table, with the columns DESCRIPTION.

    Raises:
        NoSuchTable: the folder has no files of a table.
        DamagedRun: a file is no Parquet file.
    """

    def one(part: Path) -> pq.FileMetaData:
        with _faults_of(part):
            return pq.read_metadata(part)

    footers = _from_parts(folder, one)
    rows = sum(footer.num_rows for footer in footers)
    return pd.DataFrame(
        [
            (folder.name, rows, field.name, str(field.type), _note(field, b"unit"), _note(field, b"meaning"))
            for field in footers[0].schema.to_arrow_schema()
        ],
        columns=DESCRIPTION,
    )


@contextmanager
def _faults_of(file: Path) -> Iterator[None]:
    """Context in which what pyarrow says about a damaged file or folder of files is raised as DamagedRun."""
    try:
        yield
    except FileNotFoundError:
        raise  # removed meanwhile by the run that writes it
    except (pa.ArrowException, OSError) as error:
        raise DamagedRun(f"{file} is damaged ({str(error).splitlines()[0].rstrip('. ')})") from error


def _note(field: pa.Field, key: bytes) -> str:
    return str((field.metadata or {}).get(key, b""), "utf-8")


def _parts(folder: Path) -> list[Path]:
    return sorted(part for part in folder.glob("*.parquet") if not part.name.startswith("."))


def _from_parts(folder: Path, read: Callable[[Path], T]) -> list[T]:
    """Results of `read` for all files of a table, repeated until no file was removed meanwhile."""
    for _ in range(ATTEMPTS):
        parts = _parts(folder)
        if not parts and not any(folder.glob(".*.parquet")):
            break
        try:
            found = [read(part) for part in parts]
        except FileNotFoundError:
            found = []
        if found and all(part.exists() for part in parts):
            return found
        sleep(PAUSE_S)
    tables = ", ".join(written(folder.parent)) or "none so far"
    raise NoSuchTable(f"{folder.parent.parent} has no table {folder.name!r}; the tables it has: {tables}")
