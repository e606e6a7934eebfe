"""The comparison with other simulators: equal models, and what it says of an environment that is missing."""

import sys
from pathlib import Path

import pytest

from benchmarks.fl import Cnn
from benchmarks.peers.__main__ import PEERS, ROOT, WARM, missing, rounds_s
from benchmarks.peers.task import MODELS, network
from learning.models import Architecture, Mlp


def test_models_are_those_that_the_simulator_trains() -> None:
    of_simulator: list[Architecture] = [Mlp((100,)), Cnn()]
    for name, architecture, numbers in zip(MODELS, of_simulator, (79_510, 80_202), strict=True):
        shapes = [tuple(each.shape) for block in architecture.blocks((1, 28, 28), 10) for each in block.parameters()]
        assert [tuple(each.shape) for each in network(name).parameters()] == shapes
        assert sum(each.numel() for each in network(name).parameters()) == numbers


@pytest.mark.parametrize("peer", PEERS)
def test_a_missing_peer_is_named_with_the_commands_that_make_its_environment(peer: str) -> None:
    sentence, described = missing(peer), Path(ROOT, "benchmarks", "peers", "README.md").read_text()
    assert sentence.startswith(f"{peer} is left out: ")
    for command in sentence.split("`")[1::2]:
        assert command in described
        assert not command.endswith(".txt") or Path(ROOT, command.split()[-1]).exists()
    assert Path(ROOT, "benchmarks", "peers", f"with_{peer}.py").exists()


def test_the_first_rounds_of_a_driver_are_left_out() -> None:
    seconds = rounds_s(Path(sys.executable), "loop", "mlp", 2)
    assert len(seconds) == 2
    assert min(seconds) > 0
    assert WARM > 1


def test_a_driver_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"with_nothing failed: .*No module named benchmarks.peers.with_nothing"):
        rounds_s(Path(sys.executable), "with_nothing", "mlp", 1)
