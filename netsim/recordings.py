"""Tables that somebody else recorded: Parquet or CSV files, read as columns of numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from netsim.streams import Floats


def read_table(file: str) -> pa.Table:
    """The table in a file. Raises ValueError, in one sentence, if it cannot be read."""
    path = Path(file)
    read = {".parquet": parquet.read_table, ".csv": csv.read_csv}.get(path.suffix.lower())
    if read is None:
        raise ValueError(f"{file} is neither a .parquet nor a .csv file")
    if not path.is_file():
        raise ValueError(f"there is no file {file}; paths count from the folder in which the run is started")
    try:
        return read(path)
    except pa.ArrowInvalid as problem:
        raise ValueError(f"{file} cannot be read: {problem}") from None


def column(table: pa.Table, file: str, name: str) -> Floats:
    """A column of finite numbers. Raises ValueError, in one sentence, if it is anything else."""
    if name not in table.column_names:
        raise ValueError(f'{file} has no column "{name}"; it has {", ".join(table.column_names)}')
    try:
        values = np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)
    except pa.ArrowInvalid:
        raise ValueError(f'the column "{name}" of {file} holds no numbers') from None
    if not np.isfinite(values).all():
        raise ValueError(f'the column "{name}" of {file} must hold finite numbers, and none may be missing')
    return values
