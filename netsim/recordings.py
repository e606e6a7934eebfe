"""Recorded tables: Parquet or CSV files from other sources, read column by column.

All recorded laws read their files by this module: links, paths, availability, requests and slowdowns.
docs/recordings.md documents the formats.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv, parquet

from netsim.streams import Floats

DATA_FOLDER = "NETSIM_DATA"
"""Environment variable with the folder of data files whose path is not found from the scenario's folder."""

PARQUET = {".parquet", ".parq", ".pq"}
"""Endings of Parquet files."""
TEXT = {".csv", ".tsv", ".txt"}
"""Endings of CSV files."""
COMPRESSED = {".gz", ".bz2", ".zst", ".lz4"}
"""Endings of compressed files, after the ending of the format."""

DELIMITERS = ",;\t"
"""Delimiters of columns in a CSV file; the most frequent one in the header line is used."""

HEAD_BYTES = 1 << 16
"""Maximum length of the header line of a CSV file in bytes."""

MAX_NAMES = 20
"""Maximum number of columns that a message lists."""

MAX_SECONDS = 2**53
"""Limit of integer times in seconds, from which floating point is inexact; larger integers may be nanoseconds."""

MAX_ORIGIN_S = 2**63 / 1e9
"""Limit of a time in seconds that has to fit into 64 bits of nanoseconds: 292 years."""

TimeOrigin = Literal["first_row", "zero"] | float | str | None
"""The recorded time at which the run begins.

`first_row` is the earliest time of the recording; `zero` is time 0 of the recording: 0, midnight, or 1970 for
timestamps; a number is a time in seconds from there; a text is a timestamp such as 2024-03-01 18:15:46, or a time of
day such as 07:00:00. null is `first_row` for timestamps, and `zero` otherwise.
"""

KINDS = (
    ("instants of the calendar", (pa.types.is_timestamp, pa.types.is_date)),
    ("times of day", (pa.types.is_time,)),
    ("durations", (pa.types.is_duration,)),
    ("lists", (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)),
)
"""Names of column types for messages, with the functions that recognise them."""


def find(file: str) -> Path:
    """Return the path of a file, or of a folder of files.

    Args:
        file: a path; if it does not exist, it is relative to the folder that NETSIM_DATA names.

    Raises:
        ValueError: the file is in neither place.
    """
    folder = os.environ.get(DATA_FOLDER)
    for path in (Path(file), *([Path(folder) / file] if folder else [])):
        if path.exists():
            return path
    raise ValueError(
        f"there is no file {file}; paths in a scenario count from its folder, then from the one that {DATA_FOLDER} "
        f"names, {folder or 'which is not set'}"
    )


def version(file: str) -> tuple[int, int]:
    """Return what differs when a file has been changed, for what is remembered of it: its time of change and size.

    Raises:
        ValueError: there is no such file.
    """
    about = find(file).stat()
    return about.st_mtime_ns, about.st_size


def read_text(file: str) -> str:
    """Return the contents of a text file, which may be compressed. Raises ValueError if it cannot be read."""
    path = find(file)
    try:
        with pa.input_stream(path) as stream:
            text: str = stream.read().decode("utf-8-sig")
    except (OSError, ValueError) as problem:
        raise ValueError(f"{file} cannot be read: {_one_line(problem)}") from None
    return text


@runtime_checkable
class Timed(Protocol):
    """A law that plays a recording with times."""

    file: str
    """Path of the recording."""

    def span_s(self) -> tuple[float, float]:
        """Return the first and the last recorded time, in seconds of the run."""
        ...


class Recording:
    """A recorded table. All methods raise ValueError, with one sentence, if a column is missing or unreadable."""

    def __init__(self, table: pa.Table, name: str) -> None:
        """Wrap a table; `name` stands for it in messages, such as the name of its file."""
        self.table, self.name = table, name

    @classmethod
    def read(cls, file: str) -> Recording:
        """Read the table in a Parquet or CSV file, or in a folder of Parquet files; see `find` for the path."""
        return cls(_read(file, find(file), version(file)), file)

    def where(self, rows: Any, name: str | None = None) -> Recording:
        """Return the recording of some rows.

        Args:
            rows: truth values, one for each row.
            name: name of the new recording in messages; None is the present one.
        """
        return Recording(self.table.filter(rows), name or self.name)

    def values(self, name: str) -> pa.ChunkedArray:
        """Return a column as recorded, text without surrounding blanks."""
        columns = self.table.column_names
        if name not in columns:
            numbers = any(_is_number(column) for column in columns)
            hint = "; the first line of the file must hold the columns' names" if numbers else ""
            raise ValueError(f'{self.name} has no column "{name}"; it has {_listed(columns)}{hint}')
        if columns.count(name) > 1:
            raise ValueError(
                f'{self.name} has {columns.count(name)} columns named "{name}"; give each a name of its own'
            )
        values = self.table.column(name)
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        return pc.utf8_trim_whitespace(values) if _is_text(values.type) else values

    def numbers(self, name: str) -> Floats:
        """Return a column of finite numbers without missing ones, shape (rows,)."""
        values = self.values(name)
        try:
            found = values.cast(pa.float64(), safe=False)
        except pa.ArrowException:
            raise ValueError(f'the column "{name}" of {self.name} holds no numbers, but {_kind(values)}') from None
        return self._complete(np.asarray(found.to_numpy(), dtype=np.float64), name)

    def seconds(self, name: str, origin: TimeOrigin) -> Floats:
        """Return a column of times in seconds since the origin, shape (rows,).

        Args:
            name: name of the column: numbers in seconds, timestamps, times of day or durations.
            origin: the recorded time that becomes 0. With `zero`, negative times raise ValueError; with a number or a
                text, times before the origin are negative.
        """
        values = self.values(name)
        ticks = _nanoseconds(values)
        if ticks is None:
            if self.named(name) and _cast(values, pa.float64()) is None:
                raise ValueError(
                    f'the column "{name}" of {self.name} holds text such as "{_odd_time(values)[:40]}"; '
                    "seconds are needed, or times such as 2024-03-01 18:15:46 or 07:00:00"
                )
            times, in_a_second = self.numbers(name), 1.0
            if pa.types.is_integer(values.type) and len(times) and np.abs(times).max() >= MAX_SECONDS:
                raise ValueError(
                    f'the column "{name}" of {self.name} holds whole numbers such as {values[0]}, nanoseconds perhaps; '
                    "seconds or timestamps are needed"
                )
        else:
            if ticks.null_count:
                raise self._missing(name)
            times, in_a_second = ticks.cast(pa.int64()).to_numpy(), 1e9
        if not len(times):
            return np.zeros(0)
        if origin is None:
            origin = "first_row" if ticks is not None and pa.types.is_timestamp(ticks.type) else "zero"
        since_s: Floats = (times - self._origin(name, origin, times, ticks)) / in_a_second
        if origin == "zero" and (since_s < 0).any():
            raise ValueError(f'the column "{name}" of {self.name} must hold no negative times')
        return since_s

    def span_s(self, name: str, origin: TimeOrigin) -> tuple[float, float]:
        """Return the first and the last time of a column in seconds since the origin; (0, 0) for an empty table."""
        times_s = self.seconds(name, origin)
        return (float(times_s.min()), float(times_s.max())) if len(times_s) else (0.0, 0.0)

    def _origin(self, name: str, origin: float | str, times: NDArray[Any], ticks: pa.ChunkedArray | None) -> Any:
        """The origin in the unit of `times`, seconds or nanoseconds; `ticks` are the times in nanoseconds, if any."""
        if origin == "first_row":
            return times.min()
        if origin == "zero":
            return 0
        if ticks is None and not isinstance(origin, str):
            return origin
        if ticks is not None and isinstance(origin, str):
            written = _nanoseconds(pa.chunked_array([[origin]]))
            if written is not None and written.type.equals(ticks.type):
                return written[0].cast(pa.int64()).as_py()
        elif ticks is not None and abs(float(origin)) < MAX_ORIGIN_S:
            return round(float(origin) * 1e9)
        kind = "numbers" if ticks is None else _kind(ticks)
        raise ValueError(
            f'time_origin "{origin}" does not fit the column "{name}" of {self.name}, which holds {kind}; '
            "first_row, zero, a number of seconds, or a time such as those in the column is allowed"
        )

    def users(self, name: str) -> NDArray[np.int64]:
        """Return a column of users as numbers, shape (rows,); names are numbered from 0 by first occurrence."""
        values = self.values(name)
        if values.null_count:
            raise self._missing(name)
        if self.named(name):
            return np.asarray(values.combine_chunks().dictionary_encode().indices.to_numpy(), dtype=np.int64)
        if pa.types.is_integer(values.type):
            return np.asarray(values.to_numpy(), dtype=np.int64)
        numbers = self.numbers(name)
        if (numbers != np.floor(numbers)).any():
            raise ValueError(f'the column "{name}" of {self.name} must hold whole numbers or names of users')
        return numbers.astype(np.int64)

    def named(self, name: str) -> bool:
        """Return True if a column holds text."""
        return _is_text(self.values(name).type)

    def labels(self, name: str) -> pa.ChunkedArray:
        """Return a column of names as text; missing names are null."""
        values = self.values(name)
        try:
            return values.cast(pa.string())
        except pa.ArrowException:
            raise ValueError(f'the column "{name}" of {self.name} holds no names, but {_kind(values)}') from None

    def _complete(self, values: Floats, name: str) -> Floats:
        if not np.isfinite(values).all():
            raise self._missing(name)
        return values

    def _missing(self, name: str) -> ValueError:
        return ValueError(f'the column "{name}" of {self.name} must hold finite numbers, and none may be missing')


def _listed(columns: Sequence[str]) -> str:
    rest = f" and {len(columns) - MAX_NAMES} more" if len(columns) > MAX_NAMES else ""
    return ", ".join(columns[:MAX_NAMES]) + rest


@lru_cache(maxsize=4)
def _read(file: str, path: Path, _version: tuple[int, int]) -> pa.Table:
    """The table in a file, cached until the file is changed."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in COMPRESSED]
    ending = suffixes[-1] if suffixes else ""
    try:
        if path.is_dir():
            return parquet.read_table(path)
        if ending in PARQUET:
            return parquet.ParquetFile(path).read()  # two columns of one name included
        if ending in TEXT:
            return _read_csv(path)
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise ValueError(f"{file} cannot be read: {_one_line(problem)}") from None
    raise ValueError(f"{file} is neither a .parquet nor a .csv file")


def _read_csv(path: Path) -> pa.Table:
    with pa.input_stream(path) as stream:
        first_line = stream.read(HEAD_BYTES).partition(b"\n")[0].decode("utf-8-sig", errors="replace")
    delimiter = max(DELIMITERS, key=first_line.count)
    # With semicolons as delimiters, commas are decimal commas; numbers with points are read as text and cast later.
    table = csv.read_csv(
        path,
        parse_options=csv.ParseOptions(delimiter=delimiter),
        convert_options=csv.ConvertOptions(decimal_point="," if delimiter == ";" else "."),
    )
    return table.rename_columns([name.strip() for name in table.column_names])


def _nanoseconds(values: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Times of a column as timestamps, times of day or durations in nanoseconds; None for other types."""
    kind = values.type
    if pa.types.is_duration(kind):
        return values.cast(pa.duration("ns"))
    if pa.types.is_time(kind):
        return values.cast(pa.time64("ns"))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _cast(values, pa.timestamp("ns"))  # fails for years after 2262
    if not _is_text(kind) or _cast(values, pa.float64()) is not None:
        return None
    for zone in (None, "UTC"):
        if (instants := _cast(values, pa.timestamp("ns", zone))) is not None:
            return instants.cast(pa.timestamp("ns"))
    times = _cast(pc.binary_join_element_wise("1970-01-01", values, " "), pa.timestamp("ns"))
    return None if times is None else times.cast(pa.time64("ns"))


def _cast(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    try:
        return values.cast(kind)
    except pa.ArrowException:
        return None


def _odd_time(texts: pa.ChunkedArray) -> str:
    """The first text that is neither a number nor a time, or that is not of the same type as the first one."""
    sorts: list[object] = []
    for text in texts.drop_null().unique().to_pylist():
        ticks = _nanoseconds(pa.chunked_array([[text]]))
        sorts.append("number" if _is_number(text) else None if ticks is None else str(ticks.type))
        if sorts[-1] is None or sorts[-1] != sorts[0]:
            return str(text)
    return str(texts[0])


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _kind(values: pa.ChunkedArray) -> str:
    """The type of a column in words, for messages."""
    if _is_text(values.type):
        for text in values.drop_null().to_pylist():
            if not _is_number(text):
                return f'text such as "{text[:40]}"'
    return next((words for words, tests in KINDS if any(test(values.type) for test in tests)), str(values.type))


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())
