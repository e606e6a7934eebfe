"""Kill a run at any moment, run the same command again: the tables are those of a run that never died."""

import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learning.store import Store
from processes import until
from runs import TINY, hashes, run
from scenarios import load, simulate

POLICIES: dict[str, dict[str, Any]] = {
    "wait_for_all": {},
    "deadline": {"learning.policy": {"name": "deadline", "deadline_s": 0.06}},
}
SETTINGS = {"learning.stop.rounds": 25}
REQUESTS: dict[str, Any] = {
    "compute.sites": {"cloud": {"flops_per_s": 1e8, "delay_s": 0.01}},
    "learning.model": {"name": "vit", "patch": 4, "width": 8, "depth": 2, "heads": 2, "experts": {"count": 3}},
    "learning.scheme": {"name": "moe_inference", "period_s": 0.5},
    "learning.stop.rounds": 8,
    "traffic": {"streams": {"x": {"arrivals": {"name": "poisson", "rate_per_s": 2.0}, "answered_by": "model"}}},
}
"""A tiny cell whose users ask a model with experts."""
BROADCASTS: dict[str, dict[str, Any]] = {
    "ntrscc": {"transforms": {"bits": 24, "hyper": 3, "width": 16}, "training": {"steps": [8, 4, 4], "batch_size": 4}},
    "deep_jscc": {"transforms": {"symbols": 24, "width": 16}, "training": {"steps": 24, "batch_size": 4}},
    "separate_coding": {"images": 16, "symbols": 200},
}
"""Schemes that broadcast images, with little training."""
KILLS = 3  # for each of the four settings: twelve in all
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["scenarios.run", "learning.store", "netsim.network"])


def simulate_in_a_process(overrides: dict[str, Any], store: Path, out: Path) -> None:
    opened = Store(store)
    simulate(load(TINY, overrides), out=out, store=opened)
    opened.close()


@contextmanager
def started(*arguments: Any) -> Iterator[Any]:
    """A run in a process of its own, which is dead when the block ends."""
    process = PROCESSES.Process(target=simulate_in_a_process, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


def carried_out(*arguments: Any) -> None:
    with started(*arguments) as process:
        process.join()
        assert process.exitcode == 0


def recorded(out: Path) -> dict[str, Any]:
    """run.json, empty before there is one."""
    file = out / "run.json"
    content: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return content


def written_bytes(store: Path) -> int:
    """What the database of a store takes on the disk, its log included."""
    with suppress(FileNotFoundError):  # a log comes and goes
        return sum(file.stat().st_size for file in store.glob("*/entries.sqlite*"))
    return 0


@pytest.mark.parametrize(
    ("policy", "executor"),
    [
        ("deadline", "batched"),
        ("wait_for_all", "eager"),
        pytest.param("deadline", "eager", marks=pytest.mark.slow),
        pytest.param("wait_for_all", "batched", marks=pytest.mark.slow),
    ],
)
def test_killed_runs_continue(policy: str, executor: str, tmp_path: Path) -> None:
    """A run is killed when the store has grown to some part of what a whole run leaves, or at the next write."""
    overrides = {**SETTINGS, **POLICIES[policy], "learning.executor": executor}
    store, out = tmp_path / "store", tmp_path / "run"
    carried_out(overrides, tmp_path / "first store", tmp_path / "first run")
    whole_bytes = written_bytes(tmp_path / "first store")
    parts = np.random.default_rng([len(policy), len(executor)]).uniform(0.1, 0.9, KILLS)
    for number, part in enumerate(sorted(parts)):
        with started(overrides, store, out) as process:
            until(lambda: recorded(out) or not process.is_alive())
            enough = max(part * whole_bytes, (written_bytes(store) + 1) * (number % 2))
            until(lambda: written_bytes(store) >= enough or not process.is_alive())  # noqa: B023  waited for in here
    assert recorded(out)["status"] in ("running", "complete")  # the last one may have been quick
    carried_out(overrides, store, out)
    finished = recorded(out)
    assert finished["status"] == "complete"
    assert {name: table["sha256"] for name, table in finished["tables"].items()} == reference(policy, executor)
    assert finished["operations"]["stored"] > 0
    for table in finished["tables"]:
        assert [file.name for file in (out / "traces" / table).iterdir()] == [f"{table}.parquet"]


def reference(policy: str, executor: str) -> dict[str, str]:
    """Tables of a run without a store that nobody killed."""
    overrides = {**SETTINGS, **POLICIES[policy], "learning.executor": executor}
    return hashes(run(**{path.replace(".", "__"): value for path, value in overrides.items()}))


def test_killed_answers_continue(tmp_path: Path) -> None:
    """Likewise where users ask a model: a request that was cut off is made and answered again, once."""
    store, out = tmp_path / "store", tmp_path / "run"
    carried_out(REQUESTS, tmp_path / "first store", tmp_path / "first run")
    with started(REQUESTS, store, out) as process:
        enough = 5 * written_bytes(tmp_path / "first store")  # half of what its log has grown to, before it was closed
        until(lambda: written_bytes(store) >= enough or not process.is_alive())
    carried_out(REQUESTS, store, out)
    finished, first = recorded(out), recorded(tmp_path / "first run")
    assert finished["tables"] == first["tables"]
    assert finished["tables"]["requests"]["rows"] > 10
    assert finished["operations"]["stored"] > 0


@pytest.mark.parametrize(
    "scheme",
    [
        "ntrscc",
        pytest.param("deep_jscc", marks=pytest.mark.slow),
        pytest.param("separate_coding", marks=pytest.mark.slow),
    ],
)
def test_killed_broadcasts_continue(scheme: str, tmp_path: Path) -> None:
    """Likewise where images are broadcast: training before the run, and what each receiver has decoded."""
    settings = {"learning.scheme": {"name": scheme, **BROADCASTS[scheme]}, "learning.stop.rounds": 6}
    store, out = tmp_path / "store", tmp_path / "run"
    carried_out(settings, tmp_path / "first store", tmp_path / "first run")
    with started(settings, store, out) as process:
        enough = 5 * written_bytes(tmp_path / "first store")  # most of what its log grows to, as above
        until(lambda: written_bytes(store) >= enough or not process.is_alive())
    carried_out(settings, store, out)
    finished, first = recorded(out), recorded(tmp_path / "first run")
    assert finished["tables"] == first["tables"]
    assert finished["tables"]["evaluations"]["rows"] > 6 * 4
    assert finished["operations"]["stored"] > 0
