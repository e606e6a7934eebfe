"""Tables of recorded counts of experts: which rows of a file are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray


def changed_ns(file: str) -> int:
    """When a file was changed last, in ns since 1970. Raises ValueError if there is none."""
    try:
        return Path(file).stat().st_mtime_ns
    except OSError:
        raise ValueError(
            f"there is no file {file}; paths count from the scenario's folder, then from that of NETSIM_DATA"
        ) from None


def read(file: str, columns: Sequence[str], model: str | None, domain: str | None, selection: str = "topk") -> pa.Table:
    """Read a table of counts (Parquet).

    Args:
        file: path of the file.
        columns: names of columns that it must have.
        model: which model's counts, by the column `model`; None where the file has those of one model.
        domain: the domain of the text, by the column `domain`; None is all.
        selection: value of the column `selection`, if there is one: topk counts all experts of a token, top1 the first.

    Raises:
        ValueError: the file cannot be read, or has no such rows; the message is one sentence.
    """
    try:
        known = pq.read_schema(file).names
        if missing := [name for name in columns if name not in known]:
            raise ValueError(f"{file} has no column {missing[0]}; it has {', '.join(known)}")
        rows = _filters(file, known, {"model": model, "domain": domain})
        table = pq.read_table(file, filters=rows or None)
    except (OSError, pa.ArrowInvalid) as problem:
        raise ValueError(f"{file} cannot be read as Parquet: {str(problem).splitlines()[0]}") from None
    return table.filter(pc.equal(table["selection"].cast(pa.string()), selection)) if "selection" in known else table


def _filters(file: str, columns: Sequence[str], wanted: dict[str, str | None]) -> list[tuple[str, str, str]]:
    """Which rows are read, as pyarrow takes it. Raises ValueError if there are none, or those of several models."""
    chosen: list[tuple[str, str, str]] = []
    for column, value in wanted.items():
        if column not in columns:
            if value is not None:
                raise ValueError(f"{file} has no column {column}; leave out the {column} {value}")
            continue
        rows = pq.read_table(file, columns=[column], filters=chosen or None)
        known = sorted(map(str, pc.unique(rows[column]).to_pylist()))
        if value is None and column == "model" and len(known) > 1:
            raise ValueError(f"{file} has several models, {', '.join(known)}; model must name one of them")
        if value is not None and value not in known:
            raise ValueError(f"{file} has no {column} {value}; it has {', '.join(known)}")
        if value is not None:
            chosen.append((column, "==", value))
    return chosen


def integers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """A column of integers as an array."""
    found: NDArray[np.int64] = column.to_numpy().astype(np.int64)
    return found
