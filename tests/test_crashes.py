"""Kill a run at any moment, run the same command again: the tables are those of a run that never died."""

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learning.store import Store
from runs import TINY, hashes, run
from scenarios import load, simulate

POLICIES: dict[str, dict[str, Any]] = {
    "wait_for_all": {},
    "deadline": {"learning.policy": {"name": "deadline", "deadline_s": 0.06}},
}
SETTINGS = {"learning.stop.rounds": 25}
KILLS = 5  # for each of the four settings: twenty in all
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["scenarios.run", "learning.store", "netsim.network"])


def simulate_in_a_process(overrides: dict[str, Any], store: Path, out: Path) -> None:
    opened = Store(store)
    simulate(load(TINY, overrides), out=out, store=opened)
    opened.close()


def start(*arguments: Any) -> Any:
    process = PROCESSES.Process(target=simulate_in_a_process, args=arguments)
    process.start()
    return process


def recorded(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "run.json").read_text())
    return content


def wait_for_a_write(store: Path, process: Any) -> None:
    """Until the database's log grows: the moment at which values are being written."""
    log = next(iter(store.glob("*/entries.sqlite-wal")), None)
    before = log.stat().st_size if log and log.exists() else 0
    while process.is_alive():
        log = next(iter(store.glob("*/entries.sqlite-wal")), None)
        if log and log.exists() and log.stat().st_size > before:
            return
        time.sleep(0.0005)


@pytest.mark.parametrize("executor", ["batched", "eager"])
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_killed_runs_continue(policy: str, executor: str, tmp_path: Path) -> None:
    overrides = {**SETTINGS, **POLICIES[policy], "learning.executor": executor}
    store, out = tmp_path / "store", tmp_path / "run"
    whole_s = duration_s(overrides, tmp_path)
    moments = np.random.default_rng([len(policy), len(executor)]).uniform(0.1, 0.9, KILLS)
    for number, moment in enumerate(moments):
        process = start(overrides, store, out)
        time.sleep(moment * whole_s)
        if number % 2:
            wait_for_a_write(store, process)
        process.kill()
        process.join()
    assert recorded(out)["status"] in ("running", "complete")  # the last one may have been quick
    process = start(overrides, store, out)
    process.join()
    assert process.exitcode == 0
    finished = recorded(out)
    assert finished["status"] == "complete"
    assert {name: table["sha256"] for name, table in finished["tables"].items()} == reference(policy, executor)
    assert finished["operations"]["stored"] > 0
    for table in finished["tables"]:
        assert [file.name for file in (out / "traces" / table).iterdir()] == [f"{table}.parquet"]


def duration_s(overrides: dict[str, Any], folder: Path) -> float:
    begun = time.monotonic()
    process = start(overrides, folder / "first store", folder / "first run")
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - begun


def reference(policy: str, executor: str) -> dict[str, str]:
    """Tables of a run without a store that nobody killed."""
    overrides = {**SETTINGS, **POLICIES[policy], "learning.executor": executor}
    return hashes(run(**{path.replace(".", "__"): value for path, value in overrides.items()}))
