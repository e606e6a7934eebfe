"""What `netsim check` says a run will cost. Oracle: a clock that this file moves on."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from learning.control.precision.controller import PrecisionController
from learning.control.ranks import RankSettings
from learning.control.tokens.controller import TokenController
from learning.executor import profiles, shape_run
from learning.schemes import SFLAM, HSplitLoRA, STSFLora
from runs import NEEDS
from scenarios import cost, load, simulate
from scenarios.cost import predict
from scenarios.printing import print_cost

TINY = Path(__file__).parents[1] / "tiny.yaml"


class Slow:
    """Hands on what it is told, after a time of the clock: pretraining, the first round, every other, evaluations."""

    def __init__(self, watch: Any, pass_s: Any) -> None:
        self.watch, self.pass_s, self.rounds = watch, pass_s, count()

    def began(self, models: Any) -> None: ...

    def ticked(self, time_s: float) -> None: ...

    def requested(self, row: Mapping[str, Any]) -> None: ...

    def round_ended(self, row: Mapping[str, Any]) -> None:
        self.pass_s(3.0 if next(self.rounds) else 100.0)
        self.watch.round_ended(row)

    def evaluated(self, row: Mapping[str, Any]) -> None:
        if row["metric"] == "accuracy":  # the other metrics come with it
            self.pass_s(40.0 if row["split"] == "pretraining" else 3.0 + 5.0)
        self.watch.evaluated(row)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]

    def pass_s(seconds: float) -> None:
        now[0] += seconds

    def slowed(scenario: Any, observer: Any, store: Any) -> Any:
        return simulate(scenario, observer=observer and Slow(observer, pass_s), store=store)

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("scenarios.cost.simulate", slowed)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("steps", [None, 50])
def test_wall_time_is_that_of_later_rounds(steps: int | None) -> None:
    pretraining = steps and {"data": {"name": "digits", "train_samples": 100, "test_samples": 50}, "steps": steps}
    found = predict(load(TINY, {"learning.pretraining": pretraining, "learning.evaluate_every": 2}))
    assert found is not None
    assert found.wall_time_s == 3.0 + 5.0 / 2  # the first round, in which things are set up, counts for none
    assert found.pretraining_wall_s == (steps or 0) * 40.0 / 20
    assert found.rounds == 4


def test_what_stands_in_for_values_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of schemes that decide by reports or by ranges; not where tokens or bits are fixed, or values do not count."""
    monkeypatch.setattr("scenarios.cost.MAX_PROBED_FLOPS", 0)
    for name, sentence in (
        ("st_sflora", "uses a stand-in: equal importance of all patches"),
        ("sflam", "uses a stand-in: equal ranges of all users' activations"),
        ("hsplitlora", "uses a stand-in: equal importance of all weights"),
    ):
        print_cost(predict(load(TINY, {**NEEDS[name], "learning.scheme": name})))
        assert sentence in capsys.readouterr().out
    print_cost(predict(load(TINY)))
    assert "stand-in" not in capsys.readouterr().out
    for scheme in (
        STSFLora(TokenController(tokens=5)),
        STSFLora(TokenController(attention="flat")),
        STSFLora(selector="strided"),
        SFLAM(control=PrecisionController(bits=8)),
        SFLAM(control=PrecisionController(ranges="equal")),
        HSplitLoRA(control=RankSettings(configuration="uniform")),
        HSplitLoRA(control=RankSettings(importance="random")),
    ):
        assert scheme.stand_in is None


def test_a_first_round_that_does_not_end_is_given_up(small: Path, netsim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "MAX_FIRST_ROUND_S", 0.0)
    code, out, err = netsim("check", small)
    assert (code, err) == (0, "")
    assert "the cost is unknown: after 0 s without computing any values, at 0 s of simulated time, its first" in out


def test_a_second_check_runs_no_operation_on_meta_tensors(small: Path, netsim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is as the first command of its process; the result cache has the shape profiles of the earlier one."""
    runs: list[str] = []
    run = shape_run.shape_run
    monkeypatch.setattr(shape_run, "shape_run", lambda what, given: (runs.append(what.__name__), run(what, given))[1])
    counts = []
    for _ in range(2):
        profiles._known.clear()
        assert netsim("check", small, "--set", "learning.executor=dry").code == 0
        counts.append(len(runs))
    assert 0 < counts[0] == counts[1]
