"""Overhead of the result cache in a first run of the quickstart, and its saving in a second run.

Two measurements. The share is measured within a first run: the time in which keys are computed, and the store is
opened, written, refreshed or closed, relative to the time of the run. A busy machine slows both equally, so it varies
little.
The ratio is the processor time of a first run relative to that of a run without a store just before it: the median over
pairs, and the smallest and largest value, between which the true median lies with a confidence of 1 - 2 / 2^pairs (98 %
for seven). It includes all effects of the store, and the noise of the machine.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.timing import Stopwatch
from learning.executor import identity
from learning.store import Store
from scenarios import load, simulate
from scenarios.schema import Scenario

QUICKSTART = Path(__file__).parents[1] / "scenarios" / "quickstart.yaml"
PAIRS = 7
IN_STORE = ("__init__", "put", "get", "refresh", "close")
IN_KEYS = ("of_call", "of_result")


def main() -> None:
    scenario = load(QUICKSTART)
    simulate(scenario)  # warms up
    with tempfile.TemporaryDirectory() as folder:
        print("store: " + _shares(scenario, Path(folder) / "shares"))
        print("store: " + _ratios(scenario, Path(folder) / "filled"))


def _shares(scenario: Scenario, folder: Path) -> str:
    found = []
    for _ in range(3):
        keys, store = Stopwatch(), Stopwatch()
        with keys.on(identity, IN_KEYS), store.on(Store, IN_STORE):
            run_s = _seconds(lambda: _with_store(scenario, folder, empty=True), time.perf_counter)
        found.append((keys.spent_s / run_s, store.spent_s / run_s))
    keys_share, store_share = min(found, key=sum)
    shares = f"keys {keys_share:.2%} + store {store_share:.2%} = {keys_share + store_share:.2%}"
    return f"share of the wall time of a first run of the quickstart: {shares} (minimum of {len(found)} runs)"


def _ratios(scenario: Scenario, folder: Path) -> str:
    other = load(QUICKSTART, {"network.sharing.uplink.bandwidth_mhz": 7})
    candidates: dict[str, Callable[[], None]] = {
        "first run": lambda: _with_store(scenario, folder, empty=True),
        "another network": lambda: _with_store(other, folder),
    }
    ratios: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(PAIRS):
        without_s = _seconds(lambda: simulate(scenario), time.process_time)
        for name, candidate in candidates.items():
            ratios[name].append(_seconds(candidate, time.process_time) / without_s)
    results = [f"{name} {_median_and_range(each)}" for name, each in ratios.items()]
    return f"processor time relative to a run without store, {PAIRS} pairs: {', '.join(results)}"


def _median_and_range(values: list[float]) -> str:
    return f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    begun_s = clock()
    work()
    return clock() - begun_s


def _with_store(scenario: Scenario, folder: Path, *, empty: bool = False) -> None:
    """Run a scenario with a store in `folder`, which is deleted first if `empty`."""
    if empty:
        shutil.rmtree(folder, ignore_errors=True)
    store = Store(folder)
    simulate(scenario, store=store)
    store.close()
