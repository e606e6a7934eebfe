"""Repetition of a recorded run, compared with the record bit by bit: `netsim run --check`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from learning.executor import processor
from scenarios.directory import ENDED, record
from scenarios.errors import ScenarioError
from scenarios.progress import Observer
from scenarios.run import simulate
from scenarios.schema import Scenario, load

ABSENT = "absent"
"""Text shown for a cell of a column or row that one of the tables lacks."""


@dataclass(frozen=True)
class TableCell:
    """One cell of a row, in the recorded table and in that of the repetition."""

    column: str
    recorded: str
    """Value in the recorded table, as text."""
    now: str
    """Value in the repetition, as text."""
    differs: bool
    """Whether the bits of the two values differ, which their texts may not show."""


@dataclass(frozen=True)
class Difference:
    """The first row in which two tables differ."""

    table: str
    """Name of the table."""
    row: int
    """Number of the row, from 0."""
    cells: tuple[TableCell, ...]
    """All cells of the row."""


def recorded(folder: Path) -> Scenario:
    """Return the scenario of the completed run in `folder`.

    Raises:
        ScenarioError: the folder holds no run, or one that did not complete.
    """
    about = record(folder)
    if about is None:
        raise ScenarioError(f"{folder}: found no run there; name the folder that `netsim run` wrote")
    if about["status"] not in ENDED:
        raise ScenarioError(f"{folder}: the run there is {about['status']}; only a complete one can be checked")
    return load(folder / "scenario.yaml")


def other_processor(folder: Path) -> str:
    """Return a sentence on how the processor that recorded a run differs from this one; empty if it does not.

    The last bits of values may then differ, and so what follows from them.
    """
    then, now = (record(folder) or {}).get("processor"), {"name": processor.name(), **processor.arithmetic()}
    if not isinstance(then, dict) or then == now:
        return ""
    changes = [
        f"{field} {_words(then.get(field))}, now {_words(now[field])}" for field in now if then.get(field) != now[field]
    ]
    return f"this processor may compute other last bits than the one that recorded the run: {'; '.join(changes)}"


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value) or "unlimited"


def repeat(folder: Path, scenario: Scenario, observer: Observer | None = None) -> Difference | None:
    """Repeat a recorded run without a result cache, and compare its tables with the recorded ones bit by bit.

    Args:
        folder: folder of the recorded run.
        scenario: its scenario, see `recorded`.
        observer: receives the progress of the repetition.

    Returns:
        The first difference in the first table that differs; None if all tables are identical.

    Raises:
        ScenarioError: a recorded table cannot be read.
        RunFailed: the repetition fails.
        KeyboardInterrupt: the repetition was interrupted.
    """
    result = simulate(scenario, observer=observer)
    if result.status == "interrupted":
        raise KeyboardInterrupt
    for name in result.tables:
        difference = compare(name, _read(folder / "traces" / name), result.table(name))
        if difference is not None:
            return difference
    return None


def compare(name: str, before: pa.Table, now: pa.Table) -> Difference | None:
    """Return the first row in which two tables differ; None if they are identical.

    A column or row that only one of them has counts as a difference.

    Args:
        name: name of both tables.
        before: the recorded table.
        now: the table of the repetition.
    """
    columns = list(dict.fromkeys([*now.column_names, *before.column_names]))
    rows = min(before.num_rows, now.num_rows)
    first = min((_first_difference(before, now, column, rows) for column in columns), default=rows)
    if first == max(before.num_rows, now.num_rows) and before.column_names == now.column_names:
        return None
    cells = []
    for column in columns:
        old, new = _shown(before, column, first), _shown(now, column, first)
        differs = old != new or (first < rows and _first_difference(before, now, column, rows) == first)
        cells.append(TableCell(column, old, new, differs))
    return Difference(name, first, tuple(cells))


def _read(folder: Path) -> pa.Table:
    try:
        return pq.read_table(folder, partitioning=None)
    except (OSError, pa.ArrowInvalid):
        raise ScenarioError(f"{folder}: the recorded table cannot be read; run the scenario again") from None


def _first_difference(before: pa.Table, now: pa.Table, column: str, rows: int) -> int:
    """Index of the first of `rows` rows in which a column differs; `rows` if there is none."""
    if column not in before.column_names or column not in now.column_names:
        return 0
    pairs = zip(_bits(before[column]), _bits(now[column]), strict=True)
    differs = np.logical_or.reduce([one[:rows] != other[:rows] for one, other in pairs])
    return int(differs.argmax()) if differs.any() else rows


def _bits(column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mask of the cells that are filled, and their bits: 0.0 and -0.0 differ, and NaN equals itself."""
    filled = column.is_valid().to_numpy()
    if pa.types.is_string(column.type):
        return filled, pc.fill_null(column, "").to_numpy()
    values = pc.fill_null(column, pa.scalar(0).cast(column.type)).to_numpy()
    return filled, values.view(np.int64) if values.dtype == np.float64 else values


def _shown(table: pa.Table, column: str, row: int) -> str:
    if column not in table.column_names or row >= table.num_rows:
        return ABSENT
    value = table[column][row].as_py()
    return "" if value is None else str(value)
