"""Devices: the executor alone places tensors. The meta device, which computes no numbers, stands in for a GPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from named_streams import NamedStreams

from learning.draws import Draw
from learning.executor import Batched, Eager, Executor
from learning.store import Store
from runs import TINY
from scenarios import load, simulate
from scenarios.build import build
from scenarios.errors import FieldError, ScenarioError

ELSEWHERE = torch.device("meta")
DRAW = Draw(NamedStreams(1), "noise", (0,), (3,))


def moved(numbers: torch.Tensor, drawn: torch.Tensor, weights: dict[str, torch.Tensor], times: int) -> torch.Tensor:
    """An operation on tensors, lazy leaves and deferred values that makes a tensor of its own."""
    return (numbers + drawn + weights["w"]) * times + torch.arange(3.0)


def placed(executor: Executor) -> set[str]:
    """Types of the devices on which results of operations that build on each other are."""
    start = {"w": torch.ones(3)}
    found: set[str] = set()
    for _ in range(5):  # the fourth call on the same shapes is captured
        first = [executor.submit(moved, torch.full((3,), float(user)), DRAW, start, 2) for user in range(3)]
        then = [executor.submit(moved, one, DRAW, {"w": one}, 2) for one in (first[2], first[0])]
        for result in (*then, *first):
            executor._force(result.job)
            found |= {tensor.device.type for tensor in result.tensors()}
    return found


@pytest.mark.parametrize("kind", [Eager, Batched])
def test_operands_are_placed_on_the_device_and_tensors_are_made_there(kind: Any) -> None:
    assert placed(kind()) == {"cpu"}
    assert placed(kind(device=ELSEWHERE)) == {"meta"}
    assert torch.empty(1).device.type == "cpu"


def test_results_of_the_cache_are_placed_too(tmp_path: Path) -> None:
    """The cache gives tensors on the CPU."""
    executor = Batched(Store(tmp_path), ELSEWHERE)
    operands = torch.zeros(3), DRAW, {"w": torch.ones(3)}
    known, other = (executor.submit(moved, *operands, times) for times in (1, 2))
    executor._finish(known.job, [torch.ones(3)])
    for which in (known, other):
        result = executor.submit(moved, which, DRAW, {"w": known}, 1)
        executor._force(result.job)
        assert result.tensors()[0].device.type == "meta"


def test_the_processor_is_the_default() -> None:
    tables = [simulate(load(TINY, settings)).tables for settings in ({}, {"learning.device": "cpu"})]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("executor", ["eager", "batched"])
def test_without_a_gpu_one_sentence_says_so(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    scenario = load(TINY, {"learning.device": "cuda", "learning.executor": executor})
    with pytest.raises(FieldError, match=r"learning\.device.* finds no GPU here, so cuda is not possible; cpu is"):
        build(scenario)
    build(load(TINY, {"learning.device": "cuda", "learning.executor": "dry"}))  # computes nothing


def test_workers_are_processes_on_the_cpu() -> None:
    with pytest.raises(ScenarioError, match=r"one process computes; with workers 2, device must be cpu"):
        load(TINY, {"learning.device": "cuda", "learning.workers": 2})


def test_values_of_a_gpu_have_keys_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the kind of GPU as well, which rounds as it likes."""
    keys = []
    for device, name in (("cpu", ""), ("cuda", "H100"), ("cuda", "H200")):
        monkeypatch.setattr("torch.cuda.get_device_name", lambda device, name=name: name)
        executor = Batched(Store(tmp_path / name), torch.device(device))
        keys.append(executor.submit(moved, torch.zeros(3), DRAW, {"w": torch.ones(3)}, 2).job.identity)
    assert len(set(keys)) == 3
