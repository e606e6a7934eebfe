"""The examples run as their users run them."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

import scenarios
from runs import FAULTS, frame, policy
from scenarios.run import Result

EXAMPLES = Path(__file__).parents[1] / "examples"
WEIGHTS = 64 * 64 + 64 + 64 * 10 + 10  # of the example's multilayer perceptron on images of 8 x 8 pixels


pytestmark = pytest.mark.usefixtures("own_parts")


@pytest.fixture
def toy(own_parts: None) -> dict[str, Any]:
    """The names of the example, whose scheme is registered for one test."""
    return runpy.run_path(str(EXAMPLES / "toy_scheme.py"))


def test_the_toy_scheme_sends_one_bit_a_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python examples/toy_scheme.py`, but for the number of rounds."""
    read = scenarios.load
    monkeypatch.setattr(scenarios, "load", lambda path: read(path, {"learning.stop.rounds": 3}))
    monkeypatch.chdir(tmp_path)
    result: Result = runpy.run_path(str(EXAMPLES / "toy_scheme.py"), run_name="__main__")["result"]
    rounds = frame(result, "rounds")
    assert rounds.uplink_bits.tolist() == [10 * WEIGHTS] * 3
    assert rounds.downlink_bits.tolist() == [10 * WEIGHTS * 32] * 3
    assert capsys.readouterr().out.startswith(f"accuracy {result.accuracy:.3f} after ")
    assert (tmp_path / "runs" / "toy_scheme" / "run.json").exists()


def test_the_toy_scheme_moves_every_weight_with_the_majority(toy: dict[str, Any]) -> None:
    signs = [[1.0, 1.0, -1.0, 1.0], [1.0, -1.0, -1.0, -1.0], [0.0, -1.0, 1.0, 0.0]]
    moved = toy["move"](0.25, {"w": torch.full((4,), 4.0)}, [{"w": torch.tensor(vote)} for vote in signs])
    assert moved["w"].tolist() == [3.75, 4.25, 4.25, 4.0]


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("by", ["deadline", "first_k"])
def test_the_toy_scheme_follows_policies_and_survives_faults(by: str) -> None:
    given = {path.replace("__", "."): value for path, value in policy(by, "majority_vote").items()}
    setting = {"learning.executor": "dry", "learning.stop.rounds": 4, "network.faults": FAULTS, **given}
    result = scenarios.simulate(scenarios.load(EXAMPLES / "toy_scheme.yaml", setting))
    rounds = frame(result, "rounds")
    assert (result.status, len(rounds)) == ("complete", 4)
    assert (rounds.dropped > 0).any()
    assert (rounds.participants > 0).any()


def test_the_mixture_of_experts_at_two_sites_learns_and_tells_how_long_calls_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python examples/two_sites.py`, but for the number of rounds; what it computes is tested in test_two_sites.py."""
    read = scenarios.load
    monkeypatch.setattr(scenarios, "load", lambda path, changes: read(path, {**changes, "learning.stop.rounds": 40}))
    ended = runpy.run_path(str(EXAMPLES / "two_sites.py"), run_name="__main__")
    real, dry = capsys.readouterr().out.splitlines()
    assert float(real.split()[2].rstrip(",")) > 0.8  # a tenth is chance
    assert dry.startswith("dry: accuracy None")
    assert ended["latency_s"]["edge"] < 0.01
    assert ended["latency_s"]["cloud"] > 2 * (0.02 + 0.002)  # twice the delays of the lines on the way


@pytest.fixture
def rateless(own_parts: None) -> dict[str, Any]:
    """The names of the example, whose scheme is registered for one test."""
    return runpy.run_path(str(EXAMPLES / "rateless.py"))


def test_in_the_rateless_example_users_train_when_their_own_reception_is_over(rateless: dict[str, Any]) -> None:
    """The downlink changes when a user begins, and nothing that it learns."""
    results = {downlink: rateless["run"](downlink, rounds=2) for downlink in rateless["DOWNLINKS"]}
    assert len({result.tables["evaluations"]["rows"] for result in results.values()}) == 1
    assert len({result.accuracy for result in results.values()}) == 1
    begun, bits = {}, {}
    for downlink, result in results.items():
        transfers, jobs = frame(result, "transfers"), frame(result, "computations")
        received = transfers[transfers.direction == "down"].set_index(["round", "user"])
        begun[downlink] = jobs[jobs.kind == "client_training"].set_index(["round", "user"]).start_s.sort_index()
        assert len(begun[downlink]) == 2 * 12
        assert (begun[downlink] == received.end_s[begun[downlink].index]).all()
        assert (received.receivers == (1 if downlink == "unicast" else 12)).all()
        bits[downlink] = frame(result, "rounds").downlink_bits[0]
    first = {downlink: start_s[0] for downlink, start_s in begun.items()}
    assert bits["unicast"] == pytest.approx(12 * bits["broadcast"]) == pytest.approx(12 * bits["rateless"])
    assert first["broadcast"].nunique() == 1
    assert first["rateless"].nunique() == 12
    assert (first["rateless"] < first["broadcast"]).all()


@pytest.mark.parametrize("downlink", ["unicast", "broadcast", "rateless"])
@pytest.mark.parametrize("deadline_s", [0.3, 1.5])
def test_in_the_rateless_example_a_deadline_ends_all_transmissions(
    rateless: dict[str, Any], downlink: str, deadline_s: float
) -> None:
    """Where no user is done the model stays as it is, and nothing is on the air when the next round begins."""
    scheme = {"name": "distributed_averaging", "downlink": downlink}
    cell = {"network.users.placement.radius_m": 400, "network.sharing.downlink.bandwidth_mhz": 0.5}
    policy = {"learning.policy": {"name": "deadline", "deadline_s": deadline_s}, "learning.executor": "dry"}
    result = scenarios.simulate(
        scenarios.load(rateless["CELL"], {"learning.scheme": scheme, "learning.stop.rounds": 3, **cell, **policy})
    )
    rounds, transfers = frame(result, "rounds").set_index("round"), frame(result, "transfers")
    assert (rounds.dropped > 0).all()
    assert rounds.latency_s.tolist() == pytest.approx([deadline_s] * 3)
    assert (transfers.end_s <= rounds.end_s[transfers["round"]].to_numpy()).all()


def test_the_example_with_own_data_predicts_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python examples/own_data.py`, as it is."""
    monkeypatch.chdir(tmp_path)
    result: Result = runpy.run_path(str(EXAMPLES / "own_data.py"), run_name="__main__")["result"]
    assert result.accuracy is not None
    assert result.accuracy > 0.7  # a third is chance
    samples = result.table("users")["samples"].to_pylist()
    assert sum(samples) == 640  # of eight machines with 100 recordings each, of which a fifth is for testing
    assert min(samples) > 60
    accuracy, predicted, true = capsys.readouterr().out.splitlines()
    assert accuracy.startswith(f"accuracy {result.accuracy:.3f} after ")
    assert set(predicted.split()[1:] + true.split()[1:]) <= {"bearing", "belt", "none"}
    assert (tmp_path / "runs" / "own_data" / "run" / "model" / "model.safetensors").exists()


def test_the_example_with_a_model_of_its_own_continues_from_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python examples/own_model.py`, but for the number of rounds and of samples."""
    read, fewer = scenarios.load, {"learning.stop.rounds": 4, "learning.data.train_samples": 300}
    monkeypatch.setattr(scenarios, "load", lambda path, changes=None: read(path, {**(changes or {}), **fewer}))
    monkeypatch.chdir(tmp_path)
    ended = runpy.run_path(str(EXAMPLES / "own_model.py"), run_name="__main__")
    split, whole = (frame(ended[name], "evaluations").query("metric == 'loss'") for name in ("split", "whole"))
    assert whole.value.iloc[0] < split.value.iloc[-1] < split.value.iloc[0]


def test_the_example_scheme_without_momentum_is_federated_averaging() -> None:
    """Loss by loss, but for the order of a sum; with momentum it is another one."""
    runpy.run_path(str(EXAMPLES / "own_scheme.py"))
    setting: dict[str, Any] = {"learning.stop.rounds": 3, "learning.precision": "float64"}
    schemes = [{"name": "server_momentum", "momentum": m, "local_epochs": 1} for m in (0.0, 0.7)]
    losses = []
    for scheme in (*schemes, {"name": "fedavg", "local_epochs": 1}):
        result = scenarios.simulate(
            scenarios.load(EXAMPLES / "own_scheme.yaml", {**setting, "learning.scheme": scheme})
        )
        losses.append(frame(result, "evaluations").query("metric == 'loss'").value.to_numpy())
    assert losses[0] == pytest.approx(losses[2], rel=1e-9)
    assert losses[1][-1] != pytest.approx(losses[2][-1], rel=1e-3)


def test_received_images_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python examples/received_images.py`, but for the training."""
    read = scenarios.load
    monkeypatch.setattr(scenarios, "load", lambda path: read(path, {"learning.scheme.training.steps": [3, 2, 2]}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["received_images.py"])
    runpy.run_path(str(EXAMPLES / "received_images.py"), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) == 9
    assert (tmp_path / "received_images.png").stat().st_size > 0
