"""Samples in the rows of a table: a CSV or Parquet file, or a pandas frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch
from annotated_types import MaxLen, MinLen
from numpy.typing import NDArray
from pyarrow import csv, parquet

from learning.data.conversion import array
from learning.data.dataset import Dataset
from learning.data.files import given, reading
from learning.data.own.choices import Choices, Content, from_content


@dataclass(frozen=True)
class Table(Choices):
    """Samples in the rows of a table."""

    path: Annotated[str, Path]
    """The file."""

    y: str | Annotated[tuple[str, ...], MinLen(1)]
    """Column of the labels: numbers of classes from 0, or names; several columns of numbers or of several labels."""

    x: Annotated[tuple[str, ...], MinLen(1)] | None = None
    """Columns of numbers that are the features of a sample, in this order; or one column of lists of numbers (default:
    all columns but `y` and `group`)."""

    group: str | None = None
    """Column of the source of each sample, such as a person, for the partition `natural` (default: its class)."""

    test_path: Annotated[str, Path] | None = None
    """File of the test set, with the same columns (default: some samples are held out)."""

    tokens: bool = False
    """Whether samples are rows of token numbers, for models that begin with an embedding."""

    def loaded(self, read: Callable[[Path], pa.Table], dtype: torch.dtype) -> Dataset:
        """The data set of the files that the function `read` reads.

        Raises MissingData if there is none, ValueError if it is damaged, or a column is missing or not of numbers.
        """

        def content(file: str) -> Content:
            path = given(file)
            with reading(path):
                table = read(path)
            return _content(table, str(path), self.y, self.x, self.group)

        test = None if self.test_path is None else content(self.test_path)
        names = () if isinstance(self.y, str) else self.y
        return self.prepared(Path(self.path).stem, content(self.path), test, dtype, names=names, tokens=self.tokens)


@dataclass(frozen=True)
class Csv(Table):
    """Rows of a CSV file, whose first line names the columns; it may be compressed (.gz)."""

    delimiter: Annotated[str, MinLen(1), MaxLen(1)] = ","
    """Character between columns."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load the file, as `loaded`; `folder` is not used."""
        options = csv.ParseOptions(delimiter=self.delimiter)
        return self.loaded(lambda path: csv.read_csv(path, parse_options=options), dtype)


@dataclass(frozen=True)
class ParquetTable(Table):
    """Rows of a Parquet file."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load the file, as `loaded`; `folder` is not used."""
        return self.loaded(parquet.read_table, dtype)


def from_frame(
    frame: Any,
    y: str | Sequence[str],
    x: Sequence[str] | None = None,
    group: str | None = None,
    test: Any = None,
    **choices: Any,
) -> Dataset:
    """A data set of the rows of a pandas frame.

    Args:
        frame: The frame.
        y: Column of the labels: numbers of classes from 0, or names; or several columns, as `task` says.
        x: Columns of the features, or one column of lists of numbers (default: all but `y` and `group`).
        group: Column of the source of each sample, for the partition `natural` (default: its class).
        test: Frame of the test set, with the same columns (default: some rows are held out).
        choices: Further arguments of `Dataset.from_arrays`: name, classes, test_fraction, standardise, dtype, ...

    Raises:
        ValueError: a column is missing or not of numbers, or a value is missing.
    """
    name = choices.setdefault("name", "the frame")
    choices.setdefault("classes", None if isinstance(y, str) else tuple(y))
    train, held = (
        None if one is None else _content(pa.Table.from_pandas(one, preserve_index=False), name, y, x, group)
        for one in (frame, test)
    )
    assert train is not None
    return from_content(train, held, choices)


def _content(table: pa.Table, name: str, y: str | Sequence[str], x: Sequence[str] | None, group: str | None) -> Content:
    labels = [y] if isinstance(y, str) else list(y)
    chosen = [column for column in table.column_names if column not in (*labels, group)] if x is None else list(x)
    for column in (*chosen, *labels, *([] if group is None else [group])):
        if column not in table.column_names:
            raise ValueError(f"{name} has no column {column}; it has {', '.join(table.column_names)}")
        if table.column_names.count(column) > 1:
            raise ValueError(f"{name} has several columns {column}; rename all but one of them")
    if not chosen:
        raise ValueError(f"{name} has no column but the labels; columns of numbers are needed")
    features = [_column(table, column, name) for column in chosen]
    for column, values in zip(chosen, features, strict=True):
        if values.dtype.kind not in "biuf":
            raise ValueError(f"column {column} of {name} is no numbers; leave it out of x, or encode it as numbers")
    if len(features) > 1 and any(values.ndim > 1 for values in features):
        raise ValueError(f"{name} has a column of lists beside others; name one column of lists, or columns of numbers")
    samples = features[0] if features[0].ndim > 1 else np.stack(features, axis=1)
    known = [_column(table, column, name) for column in labels]
    return Content(
        samples,
        known[0] if isinstance(y, str) else np.stack(known, axis=1),
        None if group is None else _column(table, group, name),
    )


def _column(table: pa.Table, column: str, name: str) -> NDArray[Any]:
    """Values (n, ...) of a column. Raises ValueError if one is missing."""
    values = table[column]
    if values.null_count:
        row = values.is_null().to_pylist().index(True)
        raise ValueError(f"column {column} of {name} has {values.null_count} missing values, the first in row {row}")
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    nested = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
    if nested or pa.types.is_fixed_size_list(values.type):
        return array(values.to_pylist(), f"lists in column {column} of {name}")
    return np.asarray(values.to_numpy())
