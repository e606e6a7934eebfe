"""The same learning under another network: nothing is computed twice, and the store never changes a number."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fakes import ANY_MODEL
from learning.executor import Batched
from learning.executor.deferred import Job
from learning.store import Store, StoreDamage
from runs import TINY, TRAINED, adjusted, hashes, heavy_are_slow, policy, run
from scenarios import load, simulate
from scenarios.run import Result

OTHER_NETWORK = {
    "network.sharing.uplink.bandwidth_mhz": 3,
    "network.channel.fading": "none",
    "compute.stragglers.slowdown": "none",
    "compute.servers.flops_per_s": 5e8,
    "energy.idle_power_w": 0.1,
}
PREPARED = {"fedalign_moe": 1, "token_comm": 6}
"""Values of the last round that only a further one would use: a store keeps them, else they are not computed."""
BY_BOTH = {"fedavg", "sl", "sfl_v1"}
EXECUTED = [
    (scheme, executor) if scheme in BY_BOTH else pytest.param(scheme, executor, marks=pytest.mark.slow)
    for scheme in TRAINED
    for executor in ("batched", "eager")
]
"""Schemes and executors: the store is the same for all, so that most schemes are slow tests of it."""
WEIGHED = {"token_fusion": 2}
"""Weighted sums of latency and loss, one in each round of requests, of which another network has others."""
ORDER_MATTERS = {"sfl_v2", "flexp_sfl"}  # the server part changes in order of arrival, which another network changes


def stored(store: Path, **overrides: Any) -> Result:
    """Run the tiny scenario with a store."""
    opened = Store(store)
    try:
        return simulate(
            load(TINY, adjusted({name.replace("__", "."): value for name, value in overrides.items()})), store=opened
        )
    finally:
        opened.close()


@pytest.mark.parametrize(("scheme", "executor"), EXECUTED)
def test_the_store_changes_no_number(scheme: str, executor: str, tmp_path: Path) -> None:
    """Off, on, filled by itself, filled by another scenario."""
    setting = {"learning__scheme": scheme, "learning__executor": executor}
    deadline = policy("deadline", scheme)
    off, off_late = run(**setting), run(**setting, **deadline)
    first, again = stored(tmp_path / "a", **setting), stored(tmp_path / "a", **setting)
    late, after = stored(tmp_path / "b", **setting, **deadline), stored(tmp_path / "b", **setting)
    assert hashes(off) == hashes(first) == hashes(again) == hashes(after)
    assert hashes(off_late) == hashes(late)
    assert again.operations["run"] == 0 < again.operations["stored"]
    assert first.operations["run"] <= off.operations["run"] + PREPARED.get(scheme, 0)


@pytest.mark.parametrize("scheme", sorted(set(TRAINED) - set(ANY_MODEL)))
def test_no_value_depends_on_its_group(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a scheme on a model of its own kind computes together, computed again one by one."""
    together, checked = Batched._results, 0

    def compared(self: Batched, group: list[Job]) -> list[list[torch.Tensor]]:
        nonlocal checked
        results = together(self, group)
        for job, result in zip(group, results, strict=True) if len(group) > 1 else ():
            assert all(map(torch.equal, together(self, [job])[0], result)), job.key.operation
            checked += 1
        return results

    monkeypatch.setattr(Batched, "_results", compared)
    simulate(load(TINY, adjusted({"learning.scheme": scheme, "learning.executor": "batched"})))  # `run` remembers
    assert checked


@pytest.mark.parametrize("scheme", heavy_are_slow(sorted(set(TRAINED) - ORDER_MATTERS)))
def test_another_network_runs_no_torch_step(scheme: str, tmp_path: Path) -> None:
    executor = "eager" if scheme in ("fedavg", "sl") else "batched"
    setting = {"learning__scheme": scheme, "learning__executor": executor}
    other = {path.replace(".", "__"): value for path, value in OTHER_NETWORK.items()}
    stored(tmp_path, **setting)
    moved = stored(tmp_path, **setting, **other)
    assert moved.operations["run"] == WEIGHED.get(scheme, 0) < moved.operations["asked"]
    assert hashes(moved) == hashes(run(**setting, **other))


def test_another_test_set_runs_evaluations_alone(tmp_path: Path) -> None:
    first = stored(tmp_path, learning__data={"name": "digits", "test_samples": 60})
    other = stored(tmp_path, learning__data={"name": "digits", "test_samples": 50})
    evaluated = first.table("evaluations").num_rows
    assert first.operations["run"] > other.operations["run"] == evaluated


def test_a_deadline_runs_what_follows_from_changed_participation_and_no_more(tmp_path: Path) -> None:
    """Users of round 0 train alike whoever is dropped; from the first changed average on everything is new."""
    stored(tmp_path, learning__scheme="fedavg")
    deadline = policy("deadline", "fedavg")
    moved = stored(tmp_path, learning__scheme="fedavg", **deadline)
    alone = run(learning__scheme="fedavg", **deadline)
    dropped = alone.table("rounds").to_pandas().dropped
    assert dropped.sum() > 0
    assert 0 < moved.operations["run"] < alone.operations["run"]
    assert stored(tmp_path, learning__scheme="fedavg", **deadline).operations["run"] == 0
    assert hashes(moved) == hashes(alone)


def test_executors_do_not_mix(tmp_path: Path) -> None:
    """Their values differ in the last bits, so neither may take the other's."""
    stored(tmp_path, learning__executor="batched")
    assert stored(tmp_path, learning__executor="eager").operations["stored"] == 0


@pytest.mark.parametrize("harm", ["flip", "truncate", "delete"])
def test_a_damaged_store_never_yields_a_wrong_table(harm: str, tmp_path: Path) -> None:
    stored(tmp_path, learning__scheme="sfl_v1")
    database = next(tmp_path.glob("*/entries.sqlite"))
    content = bytearray(database.read_bytes())
    if harm == "flip":
        for place in range(8192, len(content), 5000):  # throughout the pages of values
            content[place] ^= 0xFF
        database.write_bytes(content)
    elif harm == "truncate":
        database.write_bytes(content[: len(content) * 2 // 3])
    else:
        database.unlink()
    if harm == "delete":
        mended = stored(tmp_path, learning__scheme="sfl_v1")
    else:
        with pytest.warns(StoreDamage):
            mended = stored(tmp_path, learning__scheme="sfl_v1")
    assert hashes(mended) == hashes(run(learning__scheme="sfl_v1"))
    assert stored(tmp_path, learning__scheme="sfl_v1").operations["run"] == 0


def test_an_entry_that_vanishes_after_it_was_counted_on_is_computed(tmp_path: Path) -> None:
    """The second job is left out of the first one's group, because the store has it; then the store loses it."""
    opened = Store(tmp_path)
    before = Batched(opened)
    before.value(before.submit(torch.neg, torch.ones(3)))
    executor = Batched(opened)
    first, second = executor.submit(torch.neg, torch.zeros(3)), executor.submit(torch.neg, torch.ones(3))
    executor.value(first)
    opened.clear()
    assert torch.equal(executor.value(second), -torch.ones(3))
    opened.close()
