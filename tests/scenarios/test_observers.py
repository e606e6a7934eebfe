"""Observers of a run: they hear of rounds and evaluations, look at the models meanwhile, and change nothing."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fakes import digits
from learning.trained import TrainedModel
from runs import TINY, frame, hashes, run
from scenarios import Observer, ScalarLog, load, simulate

DOCUMENT = Path(__file__).parents[2] / "docs" / "extending.md"


class Watching(Observer):
    """Notes the accuracy of the models as it finds them, in each round and in each evaluation."""

    def began(self, models: Callable[[], Sequence[TrainedModel]]) -> None:
        self.models = models
        self.before = len(models())
        self.after_rounds: list[float] = []
        self.when_evaluated: list[tuple[float, float]] = []

    def accuracy(self) -> float:
        test, found = digits(torch.float32, 100).test, []
        for model in self.models():
            with torch.no_grad():
                found.append(float((model.module()(test.x).argmax(-1) == test.y).double().mean()))
        return sum(found) / len(found)

    def round_ended(self, row: Mapping[str, Any]) -> None:
        self.after_rounds.append(self.accuracy())

    def evaluated(self, row: Mapping[str, Any]) -> None:
        if row["metric"] == "accuracy":
            self.when_evaluated.append((row["value"], self.accuracy()))


def test_objects_from_before_a_run_are_not_searched_for_garbage_during_it() -> None:
    class Looking(Observer):
        def round_ended(self, row: Mapping[str, Any]) -> None:
            frozen.append(gc.get_freeze_count())

    frozen: list[int] = []
    simulate(load(TINY, {"learning.executor": "dry", "learning.stop.rounds": 1}), observer=Looking())
    assert frozen[0] > 100_000  # torch's
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("scheme", ["sfl_v1", "local"])
def test_models_are_those_that_are_evaluated(scheme: str) -> None:
    watching = Watching()
    result = simulate(load(TINY, {"learning.scheme": scheme}), observer=watching)
    reported = frame(result, "evaluations").query("metric == 'accuracy'").value.tolist()
    assert watching.before == 0
    assert watching.after_rounds == pytest.approx(reported, abs=1e-6)
    assert [value for value, _ in watching.when_evaluated] == reported
    assert [seen for _, seen in watching.when_evaluated] == pytest.approx(reported, abs=1e-6)
    assert len(set(reported)) > 1
    assert hashes(result) == hashes(run(learning__scheme=scheme))


def test_a_scalar_log_has_the_rows_of_the_tables_in_order_of_time() -> None:
    calls: list[dict[str, float]] = []
    result = simulate(load(TINY, {"learning.scheme": "local"}), observer=ScalarLog(calls.append))
    rounds, evaluations = frame(result, "rounds"), frame(result, "evaluations")
    common = evaluations[evaluations.user.isna() & evaluations.value.notna()]
    logged = [(call["round"], call["time_s"], call[name]) for call in calls for name in call if "/" in name]
    assert len(logged) == 5 * len(rounds) + len(common)
    assert [call["rounds/latency_s"] for call in calls if "rounds/latency_s" in call] == rounds.latency_s.tolist()
    for split, metric in {*zip(common.split, common.metric, strict=True)}:
        table = common[(common.split == split) & (common.metric == metric)]
        values = [
            (call["round"], call["time_s"], call[name]) for call in calls if (name := f"{split}/{metric}") in call
        ]
        assert values == [*zip(table["round"], table.time_s, table.value, strict=True)]
    assert [call["time_s"] for call in calls] == sorted(call["time_s"] for call in calls)


def test_a_scalar_log_of_a_dry_run_has_rounds_alone() -> None:
    calls: list[dict[str, float]] = []
    simulate(load(TINY, {"learning.executor": "dry"}), observer=ScalarLog(calls.append))
    assert calls
    assert all("rounds/latency_s" in call for call in calls)


def test_a_dry_run_has_no_models() -> None:
    class Counting(Observer):
        def began(self, models: Callable[[], Sequence[TrainedModel]]) -> None:
            self.models = models
            self.counts: list[int] = []

        def round_ended(self, row: Mapping[str, Any]) -> None:
            self.counts.append(len(self.models()))

    counting = Counting()
    simulate(load(TINY, {"learning.executor": "dry"}), observer=counting)
    assert counting.counts == [0, 0, 0, 0]


def test_the_documented_observer_works() -> None:
    (example,) = (
        block for block in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if "Observer" in block
    )
    space: dict[str, Any] = {}
    quickstart = 'load("scenarios/quickstart.yaml")'
    assert quickstart in example
    exec(example.replace(quickstart, f"load({str(TINY)!r})"), space)
    norms = space["observer"].norms
    assert len(set(norms)) == 4
    assert all(norm > 0 for norm in norms)
