"""Motion of people that carry a phone and wear a watch, for the recognition of activities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import torch
from annotated_types import Interval
from numpy.typing import NDArray

from learning.data.dataset import Dataset, Split, assemble
from learning.data.files import find, reading
from learning.data.modalities import Modalities

FILE = "har_phone_watch.parquet"
REMEDY = "put the recordings (columns subject, run, label and phone_..., watch_...) as that file"
ACTIVITIES = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
DEVICES = ("phone", "watch")
SENSORS = tuple(f"{sensor}_{axis}" for sensor in ("acc", "gyro") for axis in "xyz")
SCALE = np.array([9.81] * 3 + [1.0] * 3)
"""Units of the sensors in the samples: acceleration in multiples of gravity, angular rate in rad/s."""


@dataclass(frozen=True)
class PhoneWatch:
    """Five activities of 23 people (possible users), recorded by two devices at the same time; needs its file.

    Modalities: `phone` and `watch`, each (window, 6): acceleration in g and angular rate in rad/s at 50 Hz. The label
    is the activity at the middle of the window. The last people are the test set, whom no user has seen.
    """

    # Matey-Sanz, Casteleyn and Granell, Data in Brief 2023.

    window: Annotated[int, Interval(ge=2, le=1000)] = 50
    """Instants in a window, 0.02 s apart."""

    step: Annotated[int, Interval(ge=1, le=1000)] = 25
    """Instants from the start of a window to that of the next, within a run."""

    test_people: Annotated[int, Interval(ge=1, le=22)] = 6
    """People who are used for testing: those with the highest numbers."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load `folder`/har_phone_watch.parquet. Raises MissingData if it is missing, ValueError if it is damaged."""
        path = find(folder, ("",), (FILE,), "the data set of phone and watch", REMEDY)
        with reading(path):
            table = pq.read_table(path)
            run, subject, label = (np.array(table[name].to_pylist()) for name in ("run", "subject", "label"))
            motion = {device: _motion(table, device) for device in DEVICES}
        people = {name: number for number, name in enumerate(np.unique(subject))}
        activity = np.array([ACTIVITIES.index(each) for each in label])
        starts = [rows[0] + np.arange(0, len(rows) - self.window + 1, self.step) for rows in _runs(run)]
        start = np.concatenate(starts)
        who = np.array([people[subject[row]] for row in start])
        splits, groups = [], []
        for chosen in (who < len(people) - self.test_people, who >= len(people) - self.test_people):
            rows = start[chosen][:, None] + np.arange(self.window)
            values = {device: torch.from_numpy(motion[device][rows]).to(dtype) for device in DEVICES}
            present = {device: torch.ones(len(rows), dtype=torch.bool) for device in DEVICES}
            splits.append(Split(Modalities(values, present), torch.from_numpy(activity[rows[:, self.window // 2]])))
            groups.append(torch.from_numpy(who[chosen]))
        return assemble("phone_watch", splits[0], splits[1], len(ACTIVITIES), *groups)


def _motion(table: pq.ParquetFile, device: str) -> NDArray[np.float64]:
    """Readings (rows, 6) of one device."""
    return np.asarray(np.stack([table[f"{device}_{each}"].to_numpy() for each in SENSORS], axis=1) / SCALE)


def _runs(run: NDArray[np.str_]) -> list[NDArray[np.int64]]:
    """Row numbers of each run, which are consecutive."""
    borders = np.flatnonzero(run[1:] != run[:-1]) + 1
    return np.split(np.arange(len(run)), borders)
