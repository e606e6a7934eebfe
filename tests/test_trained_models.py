"""What is trained gets out of a run: modules of torch and files of weights, whose scores are those of the tables."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from learning.data import Dataset, Modalities, save
from runs import TINY, TOKENS, TRAINED, frame, hashes, heavy_are_slow, run
from scenarios import ScenarioError, load, simulate
from scenarios.cli import main
from scenarios.run import Result

STILL = {"name": "sgd", "learning_rate": 1e-40}
"""An optimiser that moves no weight."""


def dataset(result: Result) -> Dataset:
    learning = result.scenario.learning
    assert learning is not None
    return learning.data.load(None, getattr(torch, learning.precision))


def scores(module: torch.nn.Module, data: Dataset) -> tuple[float, float]:
    """Accuracy and mean cross-entropy on the test set, in plain torch."""
    with torch.no_grad():
        logits = module(data.test.x)
    accuracy = (logits.argmax(1) == data.test.y).double().mean()
    return float(accuracy), float(F.cross_entropy(logits, data.test.y))


@pytest.mark.parametrize("name", heavy_are_slow(TRAINED))
def test_models_have_the_scores_of_the_tables(name: str) -> None:
    setting: dict[str, Any] = {"learning__precision": "float64", "learning__evaluation": "uncompressed"}
    setting |= {"learning__stop": {"rounds": 2}}
    result = run(learning__scheme=name, **setting)
    rows = frame(result, "evaluations").query("split == 'test' and user.isna()").groupby("metric").value.last()
    data = dataset(result)
    if "accuracy_min" in rows:
        with pytest.raises(
            ValueError, match=r"each (user|team) has a model of its own; give user, from 0 to"
        ) as caught:
            result.model()
        count = 1 + int(str(caught.value).split()[-1])
        assert count == (2 if "team" in str(caught.value) else 4)  # users, or teams of two
        each = [scores(result.model(user), data) for user in range(count)]
        assert min(accuracy for accuracy, _ in each) == pytest.approx(rows.accuracy_min, abs=1e-12)
        assert max(accuracy for accuracy, _ in each) == pytest.approx(rows.accuracy_max, abs=1e-12)
        accuracy, loss = (sum(column) / count for column in zip(*each, strict=True))
    else:
        accuracy, loss = scores(result.model(), data)
    assert accuracy == pytest.approx(rows.accuracy, abs=1e-12)
    assert loss == pytest.approx(rows.loss, rel=1e-9)


def test_a_run_writes_its_model_and_a_later_one_replaces_it(tmp_path: Path) -> None:
    own = simulate(load(TINY, {"learning.scheme": "local", "learning.stop.rounds": 1}), out=tmp_path / "run")
    assert sorted(file.name for file in (tmp_path / "run" / "model").iterdir()) == [
        f"user{n}.safetensors" for n in range(4)
    ]
    for user in range(4):
        written = load_file(tmp_path / "run" / "model" / f"user{user}.safetensors")
        kept = own.model(user).state_dict()
        assert written.keys() == kept.keys()
        assert all(torch.equal(written[name], kept[name]) for name in kept)
    shared = simulate(load(TINY, {"learning.scheme": "fedavg", "learning.stop.rounds": 1}), out=tmp_path / "run")
    assert [file.name for file in (tmp_path / "run" / "model").iterdir()] == ["model.safetensors"]
    without = {"learning.scheme": "fedavg", "learning.stop.rounds": 1, "learning.save_model": False}
    again = simulate(load(TINY, without), out=tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()
    assert hashes(again) == hashes(shared)
    assert again.operations == shared.operations


def test_the_module_is_a_copy(tmp_path: Path) -> None:
    result = run(learning__scheme="fedavg")
    first = result.model()
    assert [type(block).__name__ for block in first] == ["Sequential"] * 3
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert any(parameter.any() for parameter in result.model().parameters())
    assert not first.training


def test_names_of_classes_are_with_the_weights(tmp_path: Path) -> None:
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    data = save(Dataset.from_arrays(x, ["cat", "dog"] * 20), tmp_path / "pets.npz")
    pets = {"name": "npz", "path": data.path, "classes": list(data.classes), "x_test": "x_test", "y_test": "y_test"}
    simulate(load(TINY, {"learning.data": pets, "learning.scheme": "fedavg"}), out=tmp_path / "run")
    with safe_open(tmp_path / "run" / "model" / "model.safetensors", "pt") as file:
        assert file.metadata()["classes"].split("\n") == ["cat", "dog"]


def test_without_values_there_is_no_model(tmp_path: Path) -> None:
    result = simulate(load(TINY, {"learning.executor": "dry"}), out=tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()
    with pytest.raises(ValueError, match="the run has no trained model"):
        result.model()


# ---------------------------------------------------------------- a run that begins with them


def begun_from(path: Path, **setting: Any) -> Result:
    """A run of one round in which no weight moves, from a file."""
    given = {"learning.init_from": str(path), "learning.optimiser": STILL, "learning.stop.rounds": 1}
    return simulate(load(TINY, {**given, **{name.replace("__", "."): value for name, value in setting.items()}}))


@pytest.mark.parametrize("scheme", ["fedavg", "sfl_v1"])
def test_a_run_begins_with_the_weights_of_a_file(scheme: str, tmp_path: Path) -> None:
    trained = simulate(load(TINY, {"learning.scheme": scheme}), out=tmp_path / "run")
    begun = begun_from(tmp_path / "run" / "model" / "model.safetensors", learning__scheme="fedavg", seed=99)
    before, now = trained.model().state_dict(), begun.model().state_dict()
    for name in before:  # the mean of four equal models
        torch.testing.assert_close(now[name], before[name], rtol=1e-6, atol=0)


def test_adapters_begin_with_a_trained_backbone_or_with_trained_adapters(tmp_path: Path) -> None:
    once = {"learning.model": {**TOKENS["learning.model"], "depth": 1}, "learning.stop.rounds": 1}
    plain = simulate(load(TINY, {**once, "learning.scheme": "local"}), out=tmp_path / "plain")
    path = tmp_path / "plain" / "model" / "user2.safetensors"
    tuned = {"learning__model": once["learning.model"], "learning__adapter": {"rank": 2}, "learning__scheme": "local"}
    begun = begun_from(path, **tuned).model(0)
    x = dataset(plain).test.x
    torch.testing.assert_close(begun(x), plain.model(2)(x))  # adapters begin as zero changes
    setting = {**once, **{name.replace("__", "."): value for name, value in tuned.items()}}
    trained = simulate(load(TINY, {**setting, "learning.init_from": str(path)}), out=tmp_path / "tuned")
    assert not torch.allclose(trained.model(1)(x), plain.model(2)(x), atol=1e-3)
    again = begun_from(tmp_path / "tuned" / "model" / "user1.safetensors", **tuned, seed=5).model(3)
    torch.testing.assert_close(again(x), trained.model(1)(x))


def test_a_scenario_names_the_file_relative_to_its_own_folder(tmp_path: Path) -> None:
    weights = run(learning__scheme="fedavg").model().state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "start.safetensors")
    text = TINY.read_text().replace("  cut: 1\n", "  cut: 1\n  init_from: start.safetensors\n")
    (tmp_path / "own.yaml").write_text(text)
    assert load(tmp_path / "own.yaml").learning.init_from == str(tmp_path / "start.safetensors")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"0.1.weight": torch.zeros(2, 64)},
            r"0\.1\.weight in .* has the shape \(2, 64\), but in the model \(24, 64\)",
        ),
        ({"9.weight": torch.zeros(1)}, r"has a parameter 9\.weight, which the model has not"),
        ({}, r"has no parameter of the model, whose first is 0\.1\.weight"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    weights = {"0.1.bias": torch.zeros(24), **change} if change else {"other": torch.zeros(1)}
    save_file(weights, tmp_path / "bad.safetensors")
    with pytest.raises(ScenarioError, match=rf"^learning\.init_from: .*{message}") as caught:
        begun_from(tmp_path / "bad.safetensors")
    assert "\n" not in str(caught.value)


def test_a_missing_or_damaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"^learning\.init_from: there is no .*none\.safetensors"):
        begun_from(tmp_path / "none.safetensors")
    with pytest.raises(ScenarioError, match=r"is a folder; name a file in it, as model\.safetensors in that of"):
        begun_from(tmp_path)
    (tmp_path / "bad.safetensors").write_bytes(b"damaged")
    with pytest.raises(ScenarioError, match=r"^learning\.init_from: .*bad\.safetensors is no file of weights"):
        begun_from(tmp_path / "bad.safetensors")


def test_the_command_line_takes_a_file_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = run(learning__scheme="fedavg").model().state_dict()
    monkeypatch.chdir(tmp_path)
    save_file({name: value.contiguous() for name, value in weights.items()}, "start.safetensors")
    command = ["run", str(TINY), "--no-store", "--quiet", "--set", "learning.stop.rounds=1", "-o", "out"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--init-from", "start.safetensors"])
    assert ended.value.code == 0
    written = (tmp_path / "out" / "scenario.yaml").read_text()
    assert f"init_from: {tmp_path / 'start.safetensors'}" in written
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "complete"
    with pytest.raises(SystemExit) as ended:
        main([*command, "--init-from", "none.safetensors", "--replace"])
    assert ended.value.code == 2
    assert "there is no" in capsys.readouterr().err


def test_modules_of_several_modalities_read_modalities() -> None:
    result = run(learning__scheme="token_comm", learning__precision="float64", learning__evaluation="uncompressed")
    x = dataset(result).test.x
    assert isinstance(x, Modalities)
    assert result.model(0)(x).shape[0] == 100
