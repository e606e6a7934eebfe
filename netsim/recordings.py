"""Tables that somebody else recorded: Parquet or CSV files, read as columns of numbers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from netsim.streams import Floats

DATA_FOLDER = "NETSIM_DATA"
"""Environment variable that names the folder of data where a scenario names none."""


def find(file: str) -> Path:
    """Where a file is: by its path, or else in the folder of recordings. Raises ValueError if it is in neither."""
    folder = os.environ.get(DATA_FOLDER)
    for path in (Path(file), *([Path(folder) / file] if folder else [])):
        if path.is_file():
            return path
    elsewhere = f", nor in {folder}" if folder else f"; those elsewhere are looked for where {DATA_FOLDER} says"
    raise ValueError(f"there is no file {file}; paths count from the folder in which the run is started{elsewhere}")


def read_table(file: str) -> pa.Table:
    """The table in a file. Raises ValueError, in one sentence, if it cannot be read."""
    path = Path(file)
    read = {".parquet": parquet.read_table, ".csv": csv.read_csv}.get(path.suffix.lower())
    if read is None:
        raise ValueError(f"{file} is neither a .parquet nor a .csv file")
    path = find(file)
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
