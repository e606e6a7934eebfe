"""Export of a run's scalars for TensorBoard, whose time is simulated time.

The step of a value is its round, and its wall time the simulated time in seconds since 1970, so that TensorBoard's axis
"relative" shows simulated time. Other trackers read such folders, too: `wandb sync FOLDER`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.run import Run

OF_ROUNDS = ("latency_s", "participants", "energy_j", "uplink_bits", "downlink_bits")
"""Columns of the table `rounds` that are exported."""


class MissingTensorBoard(ValueError):
    """TensorBoard is not installed."""


class Scalar(NamedTuple):
    """A value at a point of simulated time."""

    tag: str
    """Name of its curve, as in `test/accuracy` or `rounds/latency_s`."""
    value: float
    round: int
    time_s: float
    """Simulated time."""


def scalars(run: Run) -> Iterator[Scalar]:
    """The evaluations of all users together, and the totals of each round at its end; null values are left out."""
    if "evaluations" in run.tables:
        table = run.evaluations
        for row in table[table["user"].isna() & table["value"].notna()].itertuples():
            yield Scalar(f"{row.split}/{row.metric}", *_numbers(row.value, row.round, row.time_s))
    for row in run.rounds.itertuples():
        for name in OF_ROUNDS:
            value: Any = getattr(row, name)
            if not pd.isna(value):
                yield Scalar(f"rounds/{name}", *_numbers(value, row.round, row.end_s))


def _numbers(value: Any, round: Any, time_s: Any) -> tuple[float, int, float]:
    return float(value), int(round), float(time_s)


def write_tensorboard(run: Run, folder: Path) -> None:
    """Write the scalars of a run as an event file.

    Args:
        run: the run.
        folder: where the file is written, such as a folder for each run of a study.

    Raises:
        MissingTensorBoard: TensorBoard is not installed.
    """
    try:
        from tensorboard.summary import Writer
    except ImportError as problem:
        raise MissingTensorBoard(
            "the export for TensorBoard needs it: pip install 'netsim-learning[tensorboard]'"
        ) from problem
    writer = Writer(str(folder))
    for each in scalars(run):
        writer.add_scalar(each.tag, each.value, each.round, wall_time=each.time_s)
    writer.close()
