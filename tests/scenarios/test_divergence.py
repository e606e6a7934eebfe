"""Trainings that diverge: every scheme and controller goes on or stops as the scenario says, and the loss is told of.

Oracle: a learning rate of 1e20, with which the first step leaves single precision.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from learning.evaluation import perplexity
from runs import NEEDS, TINY, TOKENS, TRAINED
from scenarios.progress import RunningTotals

CONTROLLED = {"network.sharing.uplink.scheduler": "controlled"}
ROUNDS = 3


def hasfl(controller: Any = "hasfl") -> dict[str, Any]:
    return {"learning.scheme": {"name": "hasfl", "constants": {"estimate": True}, "controller": controller}}


def sflam(**control: Any) -> dict[str, Any]:
    return {**CONTROLLED, "learning.scheme": {"name": "sflam", "control": control}}


DECIDING: dict[str, dict[str, Any]] = {
    "hasfl": hasfl(),
    "hasfl, mini-batches": hasfl({"name": "hasfl", "cuts": "random"}),
    "adaptsfl": hasfl("adaptsfl"),
    "sflam, joint": sflam(),
    "sflam, brute": sflam(solver="brute", choices=[4, 8]),
    "sflam, subchannels": sflam(bandwidth="matching"),
    "st_sflora, reported": {**NEEDS["st_sflora"], "learning.scheme": "st_sflora"},
    "hsplitlora, gradients": {
        **NEEDS["hsplitlora"],
        "learning.scheme": {
            **NEEDS["hsplitlora"]["learning.scheme"],
            "local_steps": 1,
            "control": {
                **NEEDS["hsplitlora"]["learning.scheme"]["control"],
                "importance": "rngwp",
                "probe_every": 1,
            },
        },
    },
    "products": {**TOKENS, "learning.scheme": {"name": "sfl_v1", "local_steps": 1, "average": "product"}},
    "tsflora, products": {**TOKENS, "learning.scheme": {"name": "tsflora", "tokens": 8, "average": "product"}},
    "tsflora, quantised": {
        **TOKENS,
        "learning.scheme": {"name": "tsflora", "tokens": 8, "rounding": "stochastic", "gradient_bits": 4},
    },
    "taylor": {
        "learning.scheme": {
            "name": "fedsl_pq",
            "pruning": {"importance": "taylor", "granularity": "channel"},
            "quantise_cut_gradient": True,
            "interval": 1,
        }
    },
    "buffered": {"learning.scheme": "fedavg", "learning.policy": {"name": "buffered", "size": 2}},
    "language": {
        "learning.data": {"name": "restaurants", "length": 8, "train_samples": 64, "test_samples": 16},
        "learning.model": {"name": "gpt", "width": 8, "depth": 2, "heads": 2},
        "learning.partition": "iid",
        "learning.scheme": "fedavg",
    },
}
"""Wherever a value that was learned decides about something, or is summarised."""

PLAIN = {name: {"learning.scheme": name, **NEEDS.get(name, {})} for name in TRAINED}
CASES = DECIDING | {name: setting for name, setting in PLAIN.items() if not any(name in case for case in DECIDING)}


def written(tmp_path: Path, overrides: dict[str, Any], rate: float = 1e20) -> Path:
    """The scenario as a file."""
    scenario = yaml.safe_load(TINY.read_text())
    steps = {"learning.optimiser": {"name": "sgd", "learning_rate": rate}, "learning.stop.rounds": ROUNDS}
    few = {"learning.data.train_samples": 64, "learning.data.test_samples": 40}
    for path, value in {**few, **overrides, **steps}.items():
        *above, last = path.split(".")
        section = scenario
        for name in above:
            section = section.setdefault(name, {})
        section[last] = value
    file = tmp_path / "scenario.yaml"
    file.write_text(yaml.safe_dump(scenario))
    return file


@pytest.mark.parametrize("case", CASES)
def test_a_diverged_training_ends_with_a_sentence(case: str, tmp_path: Path, netsim) -> None:
    file = written(tmp_path, CASES[case])
    code, out, err = netsim("run", file, "-o", tmp_path / "run", "--no-store")
    assert code == 0, err
    assert re.search(r"^ *diverged +loss not finite from round 0 on *$", out, re.MULTILINE), out
    assert status(tmp_path / "run") == "complete"
    assert all(len(line) < 100 for line in out.splitlines() if "loss" in line or "perplexity" in line)
    found = evaluations(tmp_path / "run")
    assert len(found["loss"]) == ROUNDS
    assert not np.isfinite(found["loss"]).any()
    assert (found["accuracy"] < 0.05).all()  # nothing is predicted, where class 0 would be right in a tenth


def status(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["status"])


def evaluations(run: Path) -> dict[str, Any]:
    """Values of each metric, evaluation after evaluation."""
    rows = pd.read_parquet(run / "traces" / "evaluations").groupby("metric").value
    return {str(metric): values.to_numpy() for metric, values in rows}


LATER = {**PLAIN["fedavg"], "learning.stop.rounds": 5}
"""With a learning rate of 1000 the loss is finite at first."""


@pytest.mark.parametrize("every", [1, 2])
def test_a_run_stops_after_the_evaluation_at_which_its_loss_is_not_finite(every: int, tmp_path: Path, netsim) -> None:
    """Its tables are the first rows of those of the run that goes on; a replay from the store is the same run."""
    setting = {**LATER, "learning.evaluate_every": every}
    for name, more in (("on", {}), ("until", {"learning.stop.on_divergence": "stop"})):
        file = written(tmp_path, {**setting, **more}, rate=1000.0)
        code, out, err = netsim("run", file, "-o", tmp_path / name, "--no-store")
        assert code == 0, err
    last = next(row for row, loss in enumerate(evaluations(tmp_path / "on")["loss"]) if not np.isfinite(loss))
    ended = (last + 1) * every - 1
    assert 0 < ended < 4
    said = f"loss not finite from round {ended} on; the run stopped there (learning.stop.on_divergence)"
    assert said in " ".join(out.split())
    assert (status(tmp_path / "on"), status(tmp_path / "until")) == ("complete", "diverged")
    for metric, values in evaluations(tmp_path / "until").items():
        np.testing.assert_array_equal(values, evaluations(tmp_path / "on")[metric][: last + 1])
    rounds, whole = (pd.read_parquet(tmp_path / name / "traces" / "rounds") for name in ("until", "on"))
    pd.testing.assert_frame_equal(rounds, whole[: ended + 1])
    assert netsim("run", "--check", tmp_path / "until").out == "identical\n"
    tables = [json.loads((tmp_path / "until" / "run.json").read_text())["tables"]]
    for name in ("stored", "replayed"):
        assert netsim("run", file, "-o", tmp_path / name, "--store", tmp_path / "store").code == 0
        about = json.loads((tmp_path / name / "run.json").read_text())
        assert about["status"] == "diverged"
        tables.append(about["tables"])
    assert about["operations"]["run"] == 0
    assert tables[0] == tables[1] == tables[2]


def test_a_model_that_predicts_nothing_reaches_no_accuracy(tmp_path: Path, netsim) -> None:
    """Were not-a-number taken for class 0, five per cent would be reached at once."""
    file = written(tmp_path, {**PLAIN["fedavg"], "learning.stop.accuracy": 0.05})
    assert netsim("run", file, "-o", tmp_path / "run", "--no-store").code == 0
    assert len(evaluations(tmp_path / "run")["accuracy"]) == ROUNDS


def test_the_perplexity_of_a_large_loss_is_infinite_and_the_training_goes_on(tmp_path: Path, netsim) -> None:
    """A finite loss beyond 710, of which the exponential is no float."""
    assert perplexity(709.0) == np.exp(709.0)
    assert perplexity(710.0) == perplexity(np.inf) == np.inf
    assert np.isnan(perplexity(np.nan))
    file = written(tmp_path, DECIDING["language"], rate=30.0)
    assert netsim("run", file, "-o", tmp_path / "run", "--no-store").code == 0
    found = evaluations(tmp_path / "run")
    assert 710 < found["loss"][0] < np.inf
    assert found["perplexity"][0] == np.inf
    assert len(found["perplexity"]) == ROUNDS


def test_a_loss_that_recovers_is_finite_again() -> None:
    """Only the test loss tells; an evaluation without values, and other metrics and splits, tell nothing."""
    totals = RunningTotals()

    def seen(number: int, value: float | None, metric: str = "loss", split: str = "test") -> str:
        totals.evaluated({"round": number, "value": value, "metric": metric, "split": split})
        return totals.divergence

    assert seen(-1, np.nan, split="pretraining") == seen(0, None) == seen(1, np.inf, "perplexity") == ""
    assert seen(2, np.inf) == seen(3, np.nan) == seen(3, 1.0, "accuracy") == "loss not finite from round 2 on"
    assert seen(4, 1e9) == ""
    assert seen(6, np.nan) == "loss not finite from round 6 on"
    assert str(totals).endswith(", loss not finite from round 6 on")


def test_a_sweep_goes_on_and_does_not_run_a_diverged_point_again(tmp_path: Path, netsim) -> None:
    written(tmp_path, {**PLAIN["fedavg"], "learning.stop.on_divergence": "stop"}, rate=1000.0)
    study = tmp_path / "rates.yaml"
    study.write_text("base: scenario.yaml\ngrid: {learning.optimiser.learning_rate: [1.0e+20, 0.03]}\nseeds: 1\n")
    for again in (False, True):
        code, out, err = netsim("sweep", study, "-o", tmp_path / "sweep", "--jobs", 1)
        assert (code, "1 of 2 complete, 1 stopped as diverged" in out) == (0, True), err
        assert ("2 points have ended already" in " ".join(err.split())) == ("(2 of them before)" in out) == again
    points = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["points"]
    assert [point["status"] for point in points] == ["diverged", "complete"]
    assert "diverged, simulated" not in err
