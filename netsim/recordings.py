"""Tables that somebody else recorded: Parquet or CSV files as people have them, read column by column.

All recorded laws read their files here: links, paths, availability, requests and slowdowns. docs/recordings.md is their
manual.
"""

from __future__ import annotations

import os
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
"""Environment variable that names the folder of data where a scenario names none."""

PARQUET = {".parquet", ".parq", ".pq"}
TEXT = {".csv", ".tsv", ".txt"}
COMPRESSED = {".gz", ".bz2", ".zst", ".lz4"}

DELIMITERS = ",;\t"
"""What may stand between columns of a text; the one that the first line has most of does."""

HEAD_BYTES = 1 << 16
"""Bytes in which the first line of a text ends."""

LARGEST_SECOND = 2**53
"""Whole numbers from here on are no seconds but perhaps nanoseconds; floating point does not tell them apart."""

FARTHEST_S = 2**63 / 1e9
"""Seconds that nanoseconds count in 64 bits: 292 years."""

TimeOrigin = Literal["first_row", "zero"] | float | str | None
"""Which recorded time is the beginning of the run.

`first_row` is the earliest of the recording; `zero` is 0, midnight or 1970, whatever the times count from; a number is
seconds counted in the same way; a text is an instant such as 2024-03-01 18:15:46, or a time of day such as 07:00:00.
null is `first_row` for instants of the calendar, and `zero` for all others.
"""

KINDS = (
    ("instants of the calendar", (pa.types.is_timestamp, pa.types.is_date)),
    ("times of day", (pa.types.is_time,)),
    ("durations", (pa.types.is_duration,)),
    ("lists", (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)),
)
"""Words for types of columns."""


def find(file: str) -> Path:
    """Where a file or folder of files is: by its path, or in the folder of data. Raises ValueError if in neither."""
    folder = os.environ.get(DATA_FOLDER)
    for path in (Path(file), *([Path(folder) / file] if folder else [])):
        if path.exists():
            return path
    raise ValueError(
        f"there is no file {file}; paths in a scenario count from its folder, then from the one that {DATA_FOLDER} "
        f"names, {folder or 'which is not set'}"
    )


def read_text(file: str) -> str:
    """A text, compressed perhaps. Raises ValueError, in one sentence, if it cannot be read."""
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

    def span_s(self) -> tuple[float, float]:
        """The first and the last time of the recording, in seconds of the run."""
        ...


class Recording:
    """A table, and what its columns say. All methods raise ValueError, in one sentence, for what cannot be read."""

    def __init__(self, table: pa.Table, name: str) -> None:
        """`name` is that of the file, and perhaps of the part of it, for messages."""
        self.table, self.name = table, name

    @classmethod
    def read(cls, file: str) -> Recording:
        """The table in a file or folder."""
        path = find(file)
        about = path.stat()
        return cls(_read(file, path, about.st_mtime_ns, about.st_size), file)

    def where(self, rows: Any, name: str | None = None) -> Recording:
        """Those rows for which a column of truth values says so."""
        return Recording(self.table.filter(rows), name or self.name)

    def values(self, name: str) -> pa.ChunkedArray:
        """A column as it is."""
        columns = self.table.column_names
        if name not in columns:
            numbers = any(_is_number(column) for column in columns)
            hint = "; the first line of the file must hold the columns' names" if numbers else ""
            raise ValueError(f'{self.name} has no column "{name}"; it has {", ".join(columns)}{hint}')
        if columns.count(name) > 1:
            raise ValueError(
                f'{self.name} has {columns.count(name)} columns named "{name}"; give each a name of its own'
            )
        values = self.table.column(name)
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        return pc.utf8_trim_whitespace(values) if _is_text(values.type) else values

    def numbers(self, name: str) -> Floats:
        """A column of finite numbers, none of which is missing."""
        values = self.values(name)
        try:
            found = values.cast(pa.float64(), safe=False)
        except pa.ArrowException:
            raise ValueError(f'the column "{name}" of {self.name} holds no numbers, but {_kind(values)}') from None
        return self._complete(np.asarray(found.to_numpy(), dtype=np.float64), name)

    def seconds(self, name: str, origin: TimeOrigin) -> Floats:
        """A column of times in seconds since the origin: numbers, instants of the calendar, times of day or durations.

        Times before the origin are refused, unless the origin is a time that somebody chose.
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
            if pa.types.is_integer(values.type) and len(times) and np.abs(times).max() >= LARGEST_SECOND:
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
        """The first and the last time of a column, in seconds since the origin; zeros of a table without rows."""
        times_s = self.seconds(name, origin)
        return (float(times_s.min()), float(times_s.max())) if len(times_s) else (0.0, 0.0)

    def _origin(self, name: str, origin: float | str, times: NDArray[Any], ticks: pa.ChunkedArray | None) -> Any:
        """In the unit of the times."""
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
        elif ticks is not None and abs(float(origin)) < FARTHEST_S:
            return round(float(origin) * 1e9)
        kind = "numbers" if ticks is None else _kind(ticks)
        raise ValueError(
            f'time_origin "{origin}" does not fit the column "{name}" of {self.name}, which holds {kind}; '
            "first_row, zero, a number of seconds, or a time such as those in the column is allowed"
        )

    def users(self, name: str) -> NDArray[np.int64]:
        """A column of users: numbers as they are, and names numbered from 0 in the order in which they come first."""
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
        """Whether a column holds text."""
        return _is_text(self.values(name).type)

    def labels(self, name: str) -> pa.ChunkedArray:
        """A column of names as text; a name that is missing is null."""
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


@lru_cache(maxsize=4)
def _read(file: str, path: Path, changed_ns: int, size: int) -> pa.Table:
    """The table in a file, read once for as long as it stays as it is."""
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
    # Where semicolons part the columns, commas are for decimals; what has points is text, and read as numbers later.
    table = csv.read_csv(
        path,
        parse_options=csv.ParseOptions(delimiter=delimiter),
        convert_options=csv.ConvertOptions(decimal_point="," if delimiter == ";" else "."),
    )
    return table.rename_columns([name.strip() for name in table.column_names])


def _nanoseconds(values: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Times of a column as timestamps, times of day or durations in nanoseconds; None if they are something else."""
    kind = values.type
    if pa.types.is_duration(kind):
        return values.cast(pa.duration("ns"))
    if pa.types.is_time(kind):
        return values.cast(pa.time64("ns"))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _cast(values, pa.timestamp("ns"))  # which ends in 2262
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
    """The first text that is neither a number nor a time, or that is not of the same sort as the first one."""
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
    """In words, what a column holds."""
    if _is_text(values.type):
        for text in values.drop_null().to_pylist():
            if not _is_number(text):
                return f'text such as "{text[:40]}"'
    return next((words for words, tests in KINDS if any(test(values.type) for test in tests)), str(values.type))


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())
