"""Devices as different as recorded ones: a column of a table of phones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import MinLen

from netsim.recordings import Recording
from netsim.slowdown.job import Job
from netsim.streams import Floats


@dataclass(frozen=True)
class RecordedSlowdowns:
    """Each user is a device of a recorded table, drawn once; nominal speed is that of the median device."""

    file: Annotated[str, MinLen(1), Path]
    """A Parquet file or a folder of them, or a CSV file with a line of names, one row a device."""
    column: Annotated[str, MinLen(1)]
    """The column that tells how fast a device is; all its numbers must be positive."""
    measures: Literal["time", "speed"] = "time"
    """Whether large numbers are slow devices (time), or fast ones (speed, such as scores)."""
    device: str | None = None
    """The column that names the devices where they have several rows, such as layers: the median of a device's rows
    counts. Null is a row for each device."""

    def slowdown(self, job: Job) -> float:
        factors = self._factors()
        device = int(job.streams.uniform("recorded device", job.user, index=0) * len(factors))
        return float(factors[device])

    def check(self, count: int) -> None:
        """Fits any number of users, if the file can be read."""
        self._factors()

    def _factors(self) -> Floats:
        return _factors(self.file, self.column, self.measures, self.device)


@cache
def _factors(file: str, name: str, measures: str, device: str | None) -> Floats:
    """Raises ValueError, in one sentence, unless the columns are there and what counts is positive."""
    recording = Recording.read(file)
    recorded = recording.numbers(name)
    if device is not None:
        coded = recording.labels(device).combine_chunks().dictionary_encode()
        of_row = coded.indices.to_numpy(zero_copy_only=False)
        recorded = np.array([np.median(recorded[of_row == each]) for each in range(len(coded.dictionary))])
    if not len(recorded) or not (recorded > 0).all():
        raise ValueError(f'the column "{name}" of {file} must hold positive numbers, and at least one')
    times = recorded if measures == "time" else 1 / recorded
    return times / np.median(times)
