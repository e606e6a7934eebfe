"""Recorded slowdowns: users are devices of a table of measured speeds or times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import MinLen

from netsim.recordings import Recording, version
from netsim.slowdown.job import DeviceJob
from netsim.streams import Floats


@dataclass(frozen=True)
class RecordedSlowdowns:
    """Recorded slowdowns: each user is a device of a table, drawn once. The median device has the nominal speed."""

    file: Annotated[str, MinLen(1), Path]
    """A Parquet file or a folder of them, or a CSV file with a header line, one row for each device."""
    column: Annotated[str, MinLen(1)]
    """Column with the time or speed of each device; all numbers must be positive."""
    measures: Literal["time", "speed"] = "time"
    """Meaning of the column: a time, so that large numbers are slow devices, or a speed such as a benchmark score."""
    device: str | None = None
    """Column with the names of the devices, if a device has several rows, such as layers: its number is the median of
    its rows. null is one row for each device."""

    def slowdown(self, job: DeviceJob) -> float:
        factors = self._factors()
        device = int(job.streams.uniform("recorded device", job.user, index=0) * len(factors))
        return float(factors[device])

    def check(self, count: int) -> None:
        """Accept any number of users; raise ValueError if the file cannot be read."""
        self._factors()

    def _factors(self) -> Floats:
        return _factors(self.file, version(self.file), self.column, self.measures, self.device)


@lru_cache(maxsize=4)
def _factors(file: str, _version: tuple[int, int], name: str, measures: str, device: str | None) -> Floats:
    """Slowdowns of the recorded devices, shape (devices,). Raises ValueError unless all numbers are positive."""
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
