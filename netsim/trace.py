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
PENDING_S, PENDING_SHARE = 2.0, 1e-3
"""Wall time after which buffered rows of all tables are written: in seconds, or as a share of that of the run so far if
that is longer, so that runs of days do not leave hundreds of thousands of files."""
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
        self._in_memory: dict[str, list[pa.Table]] = {table: [] for table in kept}
        self._on_disk = dict.fromkeys(kept, 0)
        """Number of parts of each table in files; the paths of them all would grow with the run."""
        self._begun_s = monotonic()
        self._due_s = self._begun_s + PENDING_S
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
        elif monotonic() > self._due_s:
            self.flush()

    def flush(self) -> None:
        """Write all buffered rows, so that readers of the folder see them."""
        for table, pending in self._pending.items():
            if pending:
                self._write(table)
        now_s = monotonic()
        self._due_s = now_s + max(PENDING_S, (now_s - self._begun_s) * PENDING_SHARE)

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
        return {table: self._merge(table) for table in self._pending}

    def _write(self, table: str) -> None:
        self.writing = True
        rows, schema = self._pending[table], TABLES[table]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        part = pa.Table.from_arrays(arrays, schema=schema)
        self._pending[table] = []
        if self.directory is None:
            self._in_memory[table].append(part)
        else:
            with _appearing(_part(self.directory, table, self._on_disk[table])) as hidden:
                pq.write_table(part, hidden)
            self._on_disk[table] += 1
        self.writing = False

    def _read(self, table: str) -> Iterator[pa.Table]:
        if self.directory is None:
            yield from self._in_memory[table]
        elif (merged := _merged(self.directory, table)).exists():
            yield pq.read_table(merged, schema=TABLES[table])
        else:
            for number in range(self._on_disk[table]):
                yield pq.read_table(_part(self.directory, table, number), schema=TABLES[table])

    def _merge(self, table: str) -> dict[str, int | str]:
        rows, digest = 0, sha256()
        groups = _regroup(self._read(table))
        if self.directory is None:
            for group in groups:
                rows += group.num_rows
                _hash(group, digest)
            return {"rows": rows, "sha256": digest.hexdigest()}
        with _appearing(_merged(self.directory, table)) as hidden:
            with pq.ParquetWriter(hidden, TABLES[table], compression="zstd") as writer:
                for group in groups:
                    rows += group.num_rows
                    _hash(group, digest)
                    writer.write_table(group, row_group_size=GROUP_ROWS)
            for part in self.directory.joinpath(table).glob("part-*"):
                part.unlink()  # before the merged file appears: no row is ever seen twice
        return {"rows": rows, "sha256": digest.hexdigest()}


def _part(directory: Path, table: str, number: int) -> Path:
    return directory / table / f"part-{number:06}.parquet"


def _merged(directory: Path, table: str) -> Path:
    return directory / table / f"{table}.parquet"


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


def _regroup(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in groups of equal size, so that files and hashes do not depend on when parts were written."""
    held, rows = list[pa.Table](), 0
    for part in parts:
        held.append(part)
        rows += part.num_rows
        while rows >= GROUP_ROWS:  # joined once for a group: once for a part would take quadratic time
            joined = pa.concat_tables(held)
            yield joined.slice(0, GROUP_ROWS).combine_chunks()
            held, rows = [joined.slice(GROUP_ROWS)], rows - GROUP_ROWS
    if rows:
        yield pa.concat_tables(held).combine_chunks()


def _hash(group: pa.Table, digest: Any) -> None:
    for field, column in zip(group.schema, group.columns, strict=True):
        digest.update(field.name.encode())
        digest.update(column.is_valid().to_numpy().tobytes())
        if pa.types.is_string(field.type):
            digest.update(pc.fill_null(pc.binary_length(column), 0).to_numpy().tobytes())
            digest.update("".join(pc.fill_null(column, "").to_pylist()).encode())
        else:
            digest.update(np.ascontiguousarray(pc.fill_null(column, pa.scalar(0).cast(field.type))).tobytes())
