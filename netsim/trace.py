"""The trace of a run: tables written to disk in parts that can be read at any time, and merged at the end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from netsim.tables import TABLES

PENDING_ROWS = 4096
"""Maximum number of rows of a table that are buffered before a part is written."""
PENDING_S = 2.0
"""Wall time in seconds after which buffered rows of all tables are written."""
GROUP_ROWS = 65_536
"""Number of rows of a row group in a merged file, and of a step of the content hash."""


class Trace:
    """The rows of all tables of a run."""

    def __init__(self, directory: Path | None, tables: Collection[str] | None = None) -> None:
        """Start empty tables.

        Args:
            directory: gets a folder for each table, whose files of an earlier trace are deleted; None keeps the rows in
                memory.
            tables: names of the tables to keep; rows of others are dropped. None keeps all tables.
        """
        self.directory = directory
        self.writing = False
        """True while buffered rows are written, when no exception may come from outside, such as by a signal."""
        kept = [table for table in TABLES if tables is None or table in tables]
        self._pending: dict[str, list[tuple[Any, ...]]] = {table: [] for table in kept}
        self._parts: dict[str, list[Path | pa.Table]] = {table: [] for table in kept}
        self._written_s = monotonic()
        for table in kept:
            if directory is not None:
                _clear(directory / table)
            self._write(table)  # an empty part: every table can be read from the beginning

    def add(self, table: str, *values: Any) -> None:
        """Append a row to a table; `values` are in the order of its columns."""
        pending = self._pending.get(table)
        if pending is None:
            return
        pending.append(values)
        if len(pending) >= PENDING_ROWS:
            self._write(table)
        elif monotonic() - self._written_s > PENDING_S:
            self.flush()

    def flush(self) -> None:
        """Write all buffered rows, so that readers of the folder see them."""
        for table, pending in self._pending.items():
            if pending:
                self._write(table)
        self._written_s = monotonic()

    def frame(self, table: str) -> pa.Table:
        """Return all rows of a table so far."""
        self.flush()
        return pa.concat_tables(self._read(table)).combine_chunks()

    def close(self) -> dict[str, dict[str, int | str]]:
        """Merge the parts of each table into one file, which has the same bytes for the same rows.

        Returns:
            For each table its number of `rows`, and `sha256`, a hash of the data that does not depend on the file
            format.
        """
        self.flush()
        return {table: self._merge(table) for table in self._parts}

    def _write(self, table: str) -> None:
        self.writing = True
        rows, schema = self._pending[table], TABLES[table]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        part = pa.Table.from_arrays(arrays, schema=schema)
        self._pending[table] = []
        parts = self._parts[table]
        if self.directory is None:
            parts.append(part)
        else:
            path = self.directory / table / f"part-{len(parts):06}.parquet"
            with _appearing(path) as hidden:
                pq.write_table(part, hidden)
            parts.append(path)
        self.writing = False

    def _read(self, table: str) -> Iterator[pa.Table]:
        for part in self._parts[table]:
            yield part if isinstance(part, pa.Table) else pq.read_table(part, schema=TABLES[table])

    def _merge(self, table: str) -> dict[str, int | str]:
        rows, digest = 0, sha256()
        groups = _regroup(self._read(table), TABLES[table])
        if self.directory is None:
            for group in groups:
                rows += group.num_rows
                _hash(group, digest)
            return {"rows": rows, "sha256": digest.hexdigest()}
        merged = self.directory / table / f"{table}.parquet"
        with _appearing(merged) as hidden:
            with pq.ParquetWriter(hidden, TABLES[table], compression="zstd") as writer:
                for group in groups:
                    rows += group.num_rows
                    _hash(group, digest)
                    writer.write_table(group, row_group_size=GROUP_ROWS)
            for part in self.directory.joinpath(table).glob("part-*"):
                part.unlink()  # before the merged file appears: no row is ever seen twice
        self._parts[table] = [merged]
        return {"rows": rows, "sha256": digest.hexdigest()}


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """Return a hidden path to write to, which is renamed to `path` at the end; readers of the folder skip it before."""
    hidden = path.with_name(f".{path.name}")
    yield hidden
    hidden.replace(path)


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("part-*.parquet", ".part-*.parquet", f"{folder.name}.parquet", f".{folder.name}.parquet"):
        for old in folder.glob(pattern):
            old.unlink()


def _regroup(parts: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """The same rows in groups of equal size, so that files and hashes do not depend on when parts were written."""
    held = schema.empty_table()
    for part in parts:
        held = pa.concat_tables([held, part])
        while held.num_rows >= GROUP_ROWS:
            yield held.slice(0, GROUP_ROWS).combine_chunks()
            held = held.slice(GROUP_ROWS)
    if held.num_rows:
        yield held.combine_chunks()


def _hash(group: pa.Table, digest: Any) -> None:
    for field, column in zip(group.schema, group.columns, strict=True):
        digest.update(field.name.encode())
        digest.update(column.is_valid().to_numpy().tobytes())
        if pa.types.is_string(field.type):
            digest.update(pc.fill_null(pc.binary_length(column), 0).to_numpy().tobytes())
            digest.update("".join(pc.fill_null(column, "").to_pylist()).encode())
        else:
            digest.update(np.ascontiguousarray(pc.fill_null(column, pa.scalar(0).cast(field.type))).tobytes())
