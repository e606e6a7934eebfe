"""Twenty-four simulated weeks, 100,000 rounds: what a run holds in memory does not grow with its length."""

import gc
import sys
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from scipy import stats
from tries import SHARE

from runs import TINY
from scenarios import load, simulate
from scenarios.progress import Observer

WEEKS_S, ROUNDS = 24 * 7 * 86_400.0, 100_000
LOOKS = 60
"""Looks at the memory in the second half of the run."""
SAMPLE = 600
"""Rounds of a sample; caches of limited size are full after some 200."""
CELL: dict[str, Any] = {
    "network.users.count": 2,
    "network.faults.availability": {"name": "on_off", "mean_on_s": 20_000.0, "mean_off_s": 2000.0},
    "compute.devices.flops_per_s": [7e2, 8e2],
    "energy.battery": {"capacity_j": 1e4, "harvest_power_w": 10.0},
    "energy.tail": {"power_w": 0.5, "duration_s": 5.0},
    "learning.partition": "iid",
    "learning.scheme": {"name": "fedavg", "local_steps": 1},
    "learning.evaluate_every": 100,
}
"""Two slow devices that come and go, whose rounds take some two minutes."""


class Memory(Observer):
    """Counts blocks of Python's memory, which objects of any type are made of, whether tracked by `gc` or not."""

    def __init__(self, rounds: int, looks: int) -> None:
        self.at = {int(number) for number in np.linspace(rounds / 2, rounds - 1, looks)}
        self.rounds = 0
        self.seen: list[tuple[int, int, int]] = []
        """Round, number of blocks, and resident memory in bytes, at each look."""

    def round_ended(self, row: Mapping[str, Any]) -> None:
        self.rounds += 1
        if self.rounds in self.at:
            gc.collect()
            self.seen.append((self.rounds, sys.getallocatedblocks(), psutil.Process().memory_info().rss))


@pytest.mark.parametrize(
    "more",
    [
        {"learning.executor": "dry"},
        {"learning.executor": "dry", "learning.scheme": "sfl_v1"},
        {"learning.executor": "eager"},
    ],
    ids=["federated", "split", "trained"],
)
def test_no_round_leaves_anything_in_memory(more: dict[str, Any], tmp_path: Path) -> None:
    """Not one block of memory a round, with no table whose rows wait to be written."""
    memory = Memory(SAMPLE, 2)
    settings = {**CELL, "trace.tables": ["users"], "learning.stop": {"rounds": SAMPLE}, **more}
    simulate(load(TINY, settings), tmp_path / "run", memory)
    (first, before, _), (last, after, _) = memory.seen
    assert after - before < last - first


@pytest.mark.slow
def test_storm_of_weeks(tmp_path: Path) -> None:
    """All tables are written; the slope of the number of blocks over rounds is zero within its interval."""
    rounds = ceil(ROUNDS * SHARE)
    memory = Memory(rounds, LOOKS)
    settings = {**CELL, "learning.executor": "dry", "learning.stop": {"rounds": rounds}}
    result = simulate(load(TINY, settings), tmp_path / "run", memory)
    assert (result.status, result.reached.rounds) == ("complete", rounds)
    assert result.reached.time_s > WEEKS_S * SHARE
    number, *counted = np.array(memory.seen, dtype=float).T
    for what, values in zip(("blocks", "bytes"), counted, strict=True):
        slope, margin = _slope(number, values)
        print(f"{slope:.3g} ± {margin:.3g} {what} a round, of {values[0]:.4g}")
    slope, margin = _slope(number, counted[0])
    assert slope <= margin


def _slope(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Slope of a line through points, and half of its 95% confidence interval."""
    fit = stats.linregress(x, y)
    return fit.slope, stats.t.ppf(0.975, len(x) - 2) * fit.stderr
