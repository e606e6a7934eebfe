"""Users one by one: each with the model that it has, on its own part of the test set."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch.nn.functional as F

import analysis
from analysis import measures, report
from analysis.report.learning import spread_over_users
from learning.evaluation import Evaluator, Samples
from runs import TINY, frame, run
from scenarios import load, simulate
from scenarios.progress import RunningTotals


def evaluations(name: str, **more: object) -> pd.DataFrame:
    return frame(run(learning__scheme=name, learning__evaluate_users=True, **more), "evaluations")


@pytest.mark.parametrize("name", ["fedavg", "local"])
def test_rows_of_users_and_of_all(name: str) -> None:
    """Rows without a user are means and extremes of the others; personal models are on the whole test set too."""
    rows = evaluations(name)
    personal = name == "local"
    assert set(rows[rows.user.notna()].split) == ({"own", "test"} if personal else {"own"})
    for split in ("own", "test") if personal else ("own",):
        for _, each in rows[(rows.split == split) & (rows.metric == "accuracy")].groupby("round"):
            users, (mean,) = each[each.user.notna()], each[each.user.isna()].value
            assert list(users.user) == [0, 1, 2, 3]
            assert mean == pytest.approx(users.value.mean(), rel=1e-12)
    last = rows[(rows["round"] == rows["round"].max()) & (rows.split == "own")]
    values = last[last.user.isna()].set_index("metric").value
    accuracies = last[last.user.notna() & (last.metric == "accuracy")].value
    assert (values.accuracy_min, values.accuracy_max) == (accuracies.min(), accuracies.max())
    own = last[last.user.notna() & (last.metric == "loss")].samples
    assert own.sum() == 100  # the test set is divided among the users
    assert set(last[last.user.isna()].samples) == {100}


def test_without_them_the_other_rows_are_the_same() -> None:
    plain = frame(run(learning__scheme="local"), "evaluations")
    rows = evaluations("local")
    pd.testing.assert_frame_equal(rows[rows.user.isna() & (rows.split == "test")].reset_index(drop=True), plain)


def test_dry_runs_have_the_same_rows_without_values() -> None:
    eager, dry = evaluations("local"), evaluations("local", learning__executor="dry")
    pd.testing.assert_frame_equal(dry.drop(columns="value"), eager.drop(columns="value"))
    assert dry.value.isna().all()


def test_scores_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of each user's model, sample by sample of its own part."""
    seen: dict[str, object] = {}
    scored = Evaluator._scored

    def spy(self, models, links):
        seen["evaluator"], seen["models"] = self, models
        return scored(self, models, links)

    monkeypatch.setattr(Evaluator, "_scored", spy)
    result = simulate(
        load(TINY, {"learning.scheme": "local", "learning.evaluate_users": True, "learning.stop.rounds": 1})
    )
    rows = result.table("evaluations").to_pandas().query("split == 'own' and metric == 'loss' and user.notna()")
    evaluator, models = seen["evaluator"], seen["models"]
    assert isinstance(evaluator, Evaluator)
    assert len(rows) == len(models) == 4
    assert len({id(model) for (_, model), _ in models}) == 4  # each user's own
    for value, ((_, model), samples) in zip(rows.value, models, strict=True):
        assert isinstance(samples, Samples)
        losses = []
        for x, y in samples.chunks:
            logits = evaluator.whole(evaluator.executor.value(model), x.tensor())
            losses += [float(F.cross_entropy(row, label)) for row, label in zip(logits, y.tensor(), strict=True)]
        assert value == pytest.approx(np.mean(losses), rel=1e-5)


def test_measures_and_reports_of_a_run(tmp_path: Path) -> None:
    """Learning curves and times to a target are those of all users; the report tells the spread."""
    changes = {"learning.scheme": "local", "learning.evaluate_users": True}
    for name in ("with", "without"):
        simulate(load(TINY, changes | {"learning.evaluate_users": name == "with"}), out=tmp_path / name)
    with_users, without = analysis.load(tmp_path / "with"), analysis.load(tmp_path / "without")
    for one in (with_users, without):
        assert len(measures.metric_history(one.evaluations, "accuracy")) == 4
    assert with_users.time_to("loss", 2.2) == without.time_to("loss", 2.2)
    page = report.write(tmp_path / "with").read_text()
    assert "users end with" in page
    assert "on users' own samples" in page or "on users&#x27; own samples" in page


def test_a_summary_is_about_the_test_set_alone() -> None:
    totals = RunningTotals()
    for split, user, value in (
        ("test", None, 0.5),
        ("test", 1, 0.6),
        ("own", None, 0.7),
        ("test_uncompressed", None, 0.8),
    ):
        totals.evaluated({"round": 0, "split": split, "metric": "accuracy", "value": value, "user": user})
    assert totals.metrics == {"accuracy": 0.5}


def test_the_report_of_numbers_that_users_predict_tells_their_spread() -> None:
    """Of their errors, since numbers have no accuracy; of accuracy where there is one."""
    values = {"mae": 0.5, "mae_min": 0.25, "mae_max": 0.75, "mse": 1.0}
    own = pd.DataFrame([{"round": 3, "metric": name, "value": value} for name, value in values.items()])
    assert spread_over_users(own).endswith("a mae of 0.5 on average, from 0.25 to 0.75.")
    assert "50.0% on average" in spread_over_users(own.assign(metric=own.metric.str.replace("mae", "accuracy")))
