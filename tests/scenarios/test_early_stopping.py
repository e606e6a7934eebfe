"""Early stopping: a run ends when a metric has not improved for some evaluations in a row."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from learning.data import Dataset, save
from learning.schemes import SCHEMES
from learning.stop import Patience, Stop
from runs import TINY, TRAINED, adjusted, frame
from scenarios import ScenarioError, load, simulate


def ends_after(stop: Stop, values: list[float]) -> int:
    """Evaluations until the run ends."""
    patience = Patience(stop)
    for number, value in enumerate(values, 1):
        patience.note(value)
        if patience.over:
            return number
    return 0


@pytest.mark.parametrize(
    ("stop", "values", "expected"),
    [
        (Stop(patience=2), [1.0, 0.9, 0.95, 0.9], 4),  # an equal value is no improvement
        (Stop(patience=2), [1.0, 0.9, 0.95, 0.89, 0.9, 0.9], 6),
        (Stop(patience=1), [nan, inf, 1.0, 1.0], 1),
        (Stop(patience=2), [1.0, nan, 0.5, nan, inf], 5),
        (Stop(patience=2, metric="accuracy"), [0.1, 0.2, 0.1, 0.2], 4),
        (Stop(patience=2, metric="accuracy", min_delta=0.25), [0.25, 0.5, 0.5, 0.75], 3),  # by more than this
        (Stop(patience=2, metric="mae", min_delta=0.25), [1.0, 0.5, 0.25, 0.25], 4),
        (Stop(rounds=3), [1.0, 1.0, 1.0, 1.0], 0),
    ],
)
def test_patience_counts_evaluations_without_an_improvement(stop: Stop, values: list[float], expected: int) -> None:
    assert ends_after(stop, values) == expected


def test_a_run_ends_by_its_loss() -> None:
    """A learning rate of nearly zero improves nothing by more than min_delta."""
    still = {"learning.optimiser": {"name": "sgd", "learning_rate": 1e-9}, "learning.evaluate_every": 2}
    result = simulate(load(TINY, {**still, "learning.stop": {"patience": 3, "min_delta": 1e-3, "rounds": 50}}))
    assert result.reached.rounds == 2 * (1 + 3)
    trains = simulate(
        load(TINY, {"learning.stop": {"patience": 2, "metric": "f1", "rounds": 12}, "learning.metrics": ["f1"]})
    )
    f1 = frame(trains, "evaluations").query("metric == 'f1'").value.tolist()
    assert len(f1) == (ends_after(Stop(patience=2, metric="f1"), f1) or 12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"learning.stop": {"patience": 2, "metric": "f1"}},
            r"stop: evaluations have no f1 to stop by; loss, accuracy are",
        ),
        ({"learning.stop": {"rounds": 2, "min_delta": 0.1}}, r"metric and min_delta are those of early stopping"),
        ({"learning.stop": {"patience": 2}, "learning.executor": "dry"}, r"stop\.patience needs values"),
        (
            {"learning.stop": {"on_divergence": "stop"}},
            r"no criterion is given; give rounds, time_s, accuracy or",
        ),
    ],
)
def test_what_cannot_stop_a_run_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        simulate(load(TINY, change))


def test_all_other_schemes_report_models() -> None:
    """Those of TRAINED do in their tests; a health monitor and an app of Flower train, too."""
    without = {name for name, scheme in SCHEMES.items() if not scheme.evaluates}
    assert without == set(SCHEMES) - {*TRAINED, "dual_health", "flower"}


@pytest.mark.parametrize("stop", [{"accuracy": 0.9}, {"patience": 2, "rounds": 5}], ids=["accuracy", "patience"])
@pytest.mark.parametrize("scheme", [name for name, scheme in SCHEMES.items() if not scheme.evaluates])
def test_no_scheme_without_evaluations_stops_by_them(scheme: str, stop: dict[str, Any]) -> None:
    criterion = next(iter(stop))
    with pytest.raises(ScenarioError, match=rf"learning: stop\.{criterion} goes by models.*give stop\.rounds"):
        load(TINY, adjusted({"learning.scheme": scheme, "learning.stop": stop}))


def test_numbers_to_be_predicted_stop_by_their_errors(tmp_path: Any) -> None:
    data = save(
        Dataset.from_arrays(
            [[float(i % 7)] for i in range(70)], [[float(i % 7)] for i in range(70)], task="regression"
        ),
        tmp_path / "d.npz",
    )
    setting = {
        "learning.data": {
            "name": "npz",
            "path": data.path,
            "task": "regression",
            "x_test": "x_test",
            "y_test": "y_test",
        },
        "learning.partition": "iid",
        "learning.scheme": "fedavg",
    }
    with pytest.raises(ScenarioError, match=r"no accuracy to stop by; loss, mae, mse are there"):
        simulate(load(TINY, {**setting, "learning.stop": {"patience": 2, "metric": "accuracy"}}))
    result = simulate(
        load(TINY, {**setting, "learning.stop": {"patience": 1, "metric": "mae", "min_delta": 100, "rounds": 9}})
    )
    assert result.reached.rounds == 2
