"""Numbers to be predicted, and samples with several labels: losses and metrics equal torch's and scikit-learn's."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import mean_absolute_error, mean_squared_error

from learning import steps
from learning.data import Dataset, ParquetTable, from_frame, save
from learning.data.dataset import Task
from learning.schemes import SCHEMES
from runs import MULTIMODAL, NEEDS, TINY, TRAINED, adjusted, frame, heavy_are_slow
from scenarios import ScenarioError, load, simulate
from scenarios.run import Result

GENERATOR = np.random.Generator(np.random.Philox(key=8))
X = GENERATOR.normal(size=(200, 64))
NUMBERS = np.column_stack([X[:, :3].sum(1), X[:, 3] * X[:, 4]]) + 0.1 * GENERATOR.normal(size=(200, 2))
SEVERAL = X[:, :3] + 0.3 * GENERATOR.normal(size=(200, 3)) > 0
Y: dict[str, Any] = {"regression": NUMBERS, "multi_label": SEVERAL}
TASKS: tuple[Task, ...] = ("regression", "multi_label")


SPLIT = {"name": "sfl_v1", "local_epochs": 2}


def made(task: Task) -> Dataset:
    return Dataset.from_arrays(X.reshape(-1, 1, 8, 8), Y[task], task=task, dtype=torch.float64)


def run(task: Task, folder: Path, **changes: Any) -> tuple[Result, Dataset]:
    dataset = made(task)
    data = save(dataset, folder / f"{task}.npz")
    own = {"name": "npz", "path": data.path, "task": task, "x_test": "x_test", "y_test": "y_test"}
    setting = {"learning.data": own, "learning.partition": "iid", "learning.precision": "float64"}
    given = {name.replace("__", "."): value for name, value in changes.items()}
    return simulate(load(TINY, adjusted({**setting, **given}))), dataset


@pytest.mark.parametrize("task", TASKS)
def test_losses_are_those_of_torch_and_errors_are_counted(task: Task) -> None:
    outputs, y = torch.randn(7, 3, dtype=torch.float64), made("multi_label").test.y[:7]
    expected = F.binary_cross_entropy_with_logits(outputs, y.double())
    right: Any = ((outputs > 0) == y).sum()
    if task == "regression":
        y = torch.randn(7, 3, dtype=torch.float64)
        expected, right = F.mse_loss(outputs, y), (outputs - y).abs().sum()
    torch.testing.assert_close(steps.mean_loss(outputs, y), expected)
    torch.testing.assert_close(steps.score(outputs, y), (right, expected * 21))
    gradient = steps.loss_gradient(outputs, y)
    reference = outputs.clone().requires_grad_()
    (
        F.mse_loss(reference, y) if task == "regression" else F.binary_cross_entropy_with_logits(reference, y.double())
    ).backward()
    torch.testing.assert_close(gradient, reference.grad)


def test_no_label_is_right_where_the_output_is_not_finite() -> None:
    outputs = torch.tensor([[float("nan"), float("inf"), 1.0]])
    assert steps.score(outputs, torch.tensor([[False, True, True]]))[0] == 1


def test_errors_of_a_run_are_those_of_scikit_learn(tmp_path: Path) -> None:
    result, dataset = run("regression", tmp_path, learning__scheme="fedavg")
    rows = frame(result, "evaluations").query("split == 'test'").groupby("metric").value.last()
    with torch.no_grad():
        predicted = result.model()(dataset.test.x)
    assert set(rows.index) == {"mae", "mse", "loss"}
    assert rows.mae == pytest.approx(mean_absolute_error(dataset.test.y, predicted), rel=1e-9)
    assert rows.mse == rows.loss == pytest.approx(mean_squared_error(dataset.test.y, predicted), rel=1e-9)
    first = frame(result, "evaluations").query("metric == 'loss'").value.iloc[0]
    assert rows.loss < first
    assert result.accuracy is None


def test_labels_of_a_run_are_right_as_often_as_in_plain_torch(tmp_path: Path) -> None:
    result, dataset = run("multi_label", tmp_path, learning__scheme=SPLIT, learning__stop={"rounds": 12})
    rows = frame(result, "evaluations").query("split == 'test'").groupby("metric").value.last()
    with torch.no_grad():
        outputs = result.model()(dataset.test.x)
    assert set(rows.index) == {"accuracy", "loss"}
    assert rows.accuracy == pytest.approx(float(((outputs > 0) == dataset.test.y).double().mean()), rel=1e-12)
    assert rows.accuracy > 0.6  # a half is chance, with an error of 0.046 on 120 labels


@pytest.mark.parametrize("task", TASKS)
def test_data_are_saved_and_loaded_with_their_task(task: Task, tmp_path: Path) -> None:
    dataset = Dataset.from_arrays(X, Y[task], task=task, classes=("a", "b", "c")[: Y[task].shape[1]])
    loaded = save(dataset, tmp_path / "made.npz").load(None, torch.float32)
    assert loaded.fingerprint == dataset.fingerprint
    assert (loaded.task, loaded.names) == (task, dataset.names)
    assert loaded.kinds.tolist() == [0] * len(loaded.train.y)


def test_several_columns_of_a_table_are_labels(tmp_path: Path) -> None:
    table = pd.DataFrame(X[:, :5], columns=list("abcde")).assign(up=NUMBERS[:, 0], down=NUMBERS[:, 1])
    table.to_parquet(tmp_path / "table.parquet")
    loader = ParquetTable(str(tmp_path / "table.parquet"), ("up", "down"), task="regression")
    loaded = loader.load(None, torch.float64)
    assert (loaded.names, loaded.classes, loaded.input_shape) == (("up", "down"), 2, (5,))
    framed = from_frame(table, ["up", "down"], task="regression", name="table", dtype=torch.float64)
    assert framed.fingerprint == loaded.fingerprint
    both = torch.cat([loaded.train.y, loaded.test.y]).numpy()
    assert np.array_equal(np.sort(both, axis=0), np.sort(NUMBERS, axis=0))
    one = from_frame(table, "up", list("abc"), task="regression")
    assert (one.train.y.shape, one.classes, one.names) == ((160, 1), 1, ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.where(NUMBERS > 1, np.nan, NUMBERS)}, r"labels of own data have values that are not finite"),
        ({"y": NUMBERS.astype(str)}, r"labels of own data are text of 2 axes; numbers \(n, outputs\) are needed"),
        ({"y": NUMBERS, "classes": ("a", "b", "c")}, r"labels of own data have 2 columns; 3 is needed"),
        ({"y": SEVERAL * 2, "task": "multi_label"}, r"are 0 or 1 where a sample has several, but one is 2"),
        ({"y": NUMBERS, "test": (X, NUMBERS[:, :1])}, r"have 1 and 2 columns; one number is needed"),
    ],
)
def test_wrong_targets_are_refused(change: dict[str, Any], message: str) -> None:
    given = {"task": "regression", **change}
    with pytest.raises(ValueError, match=message):
        Dataset.from_arrays(X, given.pop("y"), **given)


def test_numbers_have_no_accuracy_to_stop_at(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"^learning\.stop: .*numbers to be predicted, which have no accuracy"):
        run("regression", tmp_path, learning__stop={"accuracy": 0.9, "rounds": 2}, learning__scheme="fedavg")


OTHER_DATA = sorted(name for name in TRAINED if name in MULTIMODAL or "learning.data" in NEEDS.get(name, {}))


@pytest.mark.parametrize("name", heavy_are_slow(sorted(set(TRAINED) - set(OTHER_DATA))))
def test_every_scheme_predicts_numbers_or_refuses_them(name: str, tmp_path: Path) -> None:
    once = {"learning__scheme": name, "learning__stop": {"rounds": 1}, "learning__evaluation": "uncompressed"}
    if SCHEMES[name].needs_classes:
        with pytest.raises(ScenarioError, match="the scheme needs classes, but the task of regression is regression"):
            run("regression", tmp_path, **once)
        return
    result, _ = run("regression", tmp_path, **once)
    rows = frame(result, "evaluations").query("metric == 'mae'")
    assert len(rows) > 0
    assert rows.value.notna().all()
