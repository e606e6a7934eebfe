"""F1 scores, balanced accuracy and areas under the ROC of evaluations equal scikit-learn's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, multilabel_confusion_matrix, roc_auc_score

from learning import steps
from learning.data import Dataset, save
from learning.evaluation import areas, by_class
from runs import TINY, frame, hashes, run
from scenarios import ScenarioError, load, simulate

ALL = ["f1", "f1_by_class", "balanced_accuracy", "auroc", "auroc_by_class"]
GENERATOR = torch.Generator().manual_seed(4)


def identity(parameters: Any, x: torch.Tensor) -> torch.Tensor:
    return x


@pytest.mark.parametrize("several", [False, True])
def test_predictions_are_counted_as_by_scikit_learn(several: bool) -> None:
    logits = torch.randn(50, 4, generator=GENERATOR)
    y = torch.rand(50, 4, generator=GENERATOR) > 0.6 if several else torch.randint(0, 3, (50,), generator=GENERATOR)
    counts = steps.counted(identity, {}, logits, y).numpy()
    predicted = logits > 0 if several else logits.argmax(1)
    matrices = multilabel_confusion_matrix(y, predicted, labels=None if several else range(4))
    assert np.array_equal(counts, matrices.reshape(4, 4)[:, [3, 1, 2]])
    found = by_class(counts, list("abcd"), ("f1", "f1_by_class", "balanced_accuracy"))
    each = f1_score(y, predicted, average=None, labels=None if several else range(4), zero_division=0)
    there = 4 if several else 3  # no sample is of the fourth class
    assert [found[f"f1_{name}"] for name in "abcd"[:there]] == pytest.approx(each[:there].tolist())
    assert found["f1"] == pytest.approx(each[:there].mean())
    assert len(found) == there + 2
    if not several:
        known = np.where(predicted == 3, 99, predicted)
        assert found["balanced_accuracy"] == pytest.approx(np.mean([(known[y == k] == k).mean() for k in range(3)]))


def test_tokens_are_predictions_and_what_is_not_finite_is_none() -> None:
    logits = torch.tensor([[[5.0, 0.0], [float("nan"), 1.0]], [[0.0, 2.0], [0.0, 2.0]]])
    counts = steps.counted(identity, {}, logits, torch.tensor([[0, 1], [1, 0]]))
    assert counts.tolist() == [[1, 0, 1], [1, 1, 1]]


def test_metrics_of_a_run_are_those_of_its_model() -> None:
    result = run(learning__scheme="fedavg", learning__precision="float64", learning__metrics=ALL)
    learning = result.scenario.learning
    assert learning is not None
    test = learning.data.load(None, torch.float64).test
    with torch.no_grad():
        logits = result.model()(test.x)
    predicted, probabilities = logits.argmax(1), logits.softmax(1)
    rows = frame(result, "evaluations").groupby("metric").value.last()
    assert rows.f1 == pytest.approx(f1_score(test.y, predicted, average="macro"))
    assert rows.balanced_accuracy == pytest.approx(balanced_accuracy_score(test.y, predicted))
    assert [rows[f"f1_{k}"] for k in range(10)] == pytest.approx(f1_score(test.y, predicted, average=None).tolist())
    each = [roc_auc_score(test.y == k, probabilities[:, k]) for k in range(10)]
    assert [rows[f"auroc_{k}"] for k in range(10)] == pytest.approx(each)
    assert rows.auroc == pytest.approx(roc_auc_score(test.y, probabilities, multi_class="ovr"))


def test_areas_of_labels_of_several_kinds() -> None:
    """Several labels of a sample; labels of tokens; classes that no label has, or all have, count nowhere."""
    draw = np.random.default_rng(2)
    scores, labels = draw.normal(size=(60, 3)), draw.random((60, 3)) < 0.4
    several = areas(scores, labels, "abc", ("auroc",))
    assert several == {"auroc": pytest.approx(roc_auc_score(labels, scores))}
    tokens = draw.integers(2, size=(20, 3))
    found = areas(scores, tokens, "abc", ("auroc_by_class",))
    assert found == {
        f"auroc_{'abc'[k]}": pytest.approx(roc_auc_score(tokens.ravel() == k, scores[:, k])) for k in (0, 1)
    }
    assert areas(scores, np.zeros(60, dtype=np.int64), "abc", ("auroc", "auroc_by_class")) == {}


def test_scores_are_probabilities_or_logits() -> None:
    logits = torch.randn(6, 2, 4, generator=GENERATOR)
    y = torch.zeros(6, 2, dtype=torch.int64)
    expected = logits.double().softmax(-1).reshape(12, 4)
    assert torch.equal(steps.class_scores(identity, {}, logits, y), expected)
    some = logits[:, 0]
    assert torch.equal(steps.class_scores(identity, {}, some, some > 0), some.double())


def test_without_values_the_rows_are_the_same() -> None:
    dry, real = (
        frame(run(learning__scheme="local", learning__executor=each, learning__metrics=ALL), "evaluations")
        for each in ("dry", "batched")
    )
    assert dry.drop(columns="value").equals(real.drop(columns="value"))
    assert dry.value.isna().all()
    plain = run(learning__scheme="local")
    more = real[~real.metric.str.startswith(("f1", "balanced", "auroc"))].reset_index(drop=True)
    assert more.equals(frame(plain, "evaluations"))
    assert hashes(plain)["rounds"] == hashes(run(learning__scheme="local", learning__metrics=ALL))["rounds"]


def test_names_of_classes_are_in_the_table_and_numbers_have_none(tmp_path: Path) -> None:
    x = torch.randn(40, 64, generator=GENERATOR)
    data = save(Dataset.from_arrays(x, ["cat", "dog"] * 20), tmp_path / "pets.npz")
    pets: dict[str, Any] = {"name": "npz", "path": data.path, "classes": ["cat", "dog"]}
    setting = {"learning.data": pets, "learning.partition": "iid", "learning.metrics": ALL, "learning.scheme": "fedavg"}
    rows = frame(simulate(load(TINY, setting)), "evaluations")
    assert {"f1_cat", "f1_dog", "auroc_cat", "auroc_dog"} <= set(rows.metric)
    numbers = save(Dataset.from_arrays(x, x[:, 0], task="regression"), tmp_path / "numbers.npz")
    own = {"name": "npz", "path": numbers.path, "task": "regression"}
    with pytest.raises(
        ScenarioError,
        match=r"^learning\.metrics: .*f1, f1_by_class, .*auroc_by_class are of classes",
    ):
        simulate(load(TINY, {**setting, "learning.data": own}))
