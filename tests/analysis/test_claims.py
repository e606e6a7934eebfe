"""Claims about sweeps that are made up, so that every verdict can be worked out by hand."""

from math import inf, isnan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up_sweep import MadeUp, write_sweep

from analysis import load_sweep
from analysis.claims import Claim, Finding, NotJudged, judge
from analysis.comparison.outcomes import Goal
from analysis.measures import NotRecorded, metric_history

SEEDS = range(6)


def found(tmp_path: Path, metric: str = "accuracy", seeds: range = SEEDS, **claim: Any) -> Finding:
    """`fast` has rounds of 0.8 s, `slow` of 1 s; `lazy` misses the target; energy and accuracy differ by seed."""
    arms = {
        "slow": {seed: MadeUp(1.0, (0.5, 0.8, 0.9 + seed / 100)) for seed in seeds},
        "fast": {seed: MadeUp(0.8, (0.5, 0.8, 0.9 - seed / 100)) for seed in seeds},
        "lazy": {seed: MadeUp(0.1, (0.5, 0.6, 0.7)) for seed in seeds},
    }
    sweep = load_sweep(write_sweep(tmp_path / "sweep", arms))
    (finding,) = judge([Claim(says="so it is", **claim)], sweep.runs, Goal(metric, 0.8))
    return finding


def test_a_sure_difference_holds(tmp_path: Path) -> None:
    finding = found(tmp_path, arm="fast", against="slow", measure="time_to_target_s", relative=True, at_most=-0.1)
    assert finding.mean == pytest.approx(-0.2)
    assert (finding.low, finding.high) == pytest.approx((-0.2, -0.2))
    assert (finding.seeds, finding.verdict) == (6, "holds")


def test_a_mean_alone_is_partly(tmp_path: Path) -> None:
    """Final accuracies differ by 0, -0.02, ... -0.1: mean -0.05, and an interval that reaches beyond -0.04."""
    partly = found(tmp_path, arm="fast", against="slow", measure="final_value", at_most=-0.04)
    assert (partly.mean, partly.verdict) == (pytest.approx(-0.05), "partly")
    assert partly.low < -0.05 < -0.04 < partly.high
    slope = Claim(says="", arm="fast", against="slow", measure="final_value", at_least=-0.04)
    assert not slope.admits(partly.mean)


def test_a_late_value_is_a_mean_of_evaluations(tmp_path: Path) -> None:
    arms = {"one": {0: MadeUp(accuracies=(0.1, 0.2, 0.9, 0.5))}}
    sweep = load_sweep(write_sweep(tmp_path / "sweep", arms))
    (finding,) = judge([Claim(says="", arm="one", measure="late_value", at_least=0.7)], sweep.runs, Goal())
    assert (finding.mean, finding.verdict) == (pytest.approx(0.7), "holds")


def test_a_claim_is_about_the_samples_that_it_names(tmp_path: Path) -> None:
    """Without a split, about those of the study; a split that was never evaluated is not judged."""
    arms = {"one": {0: MadeUp(accuracies=(0.1, 0.2))}}
    sweep = load_sweep(write_sweep(tmp_path / "sweep", arms))
    claim = {"says": "", "arm": "one", "measure": "final_value", "at_least": 0.2}
    for split, goal in ((None, Goal()), ("test", Goal(split="own"))):
        (finding,) = judge([Claim(**claim, split=split)], sweep.runs, goal)
        assert finding.mean == 0.2
    with pytest.raises(NotJudged):
        judge([Claim(**claim, split="own")], sweep.runs, Goal())


def test_a_claim_can_be_about_one_user() -> None:
    """Rows of single users, and their mean without a user."""
    rows = [(None, 2.0), (0, 3.0), (1, 1.0)]
    evaluations = pd.DataFrame(
        [{"round": 0, "time_s": 1.0, "split": "received", "metric": "psnr_db", "value": v, "user": u} for u, v in rows]
    )
    found = [metric_history(evaluations, "psnr_db", "received", user).value.tolist() for user in (None, 0, 1)]
    assert found == [[2.0], [3.0], [1.0]]
    with pytest.raises(NotRecorded):
        metric_history(evaluations, "psnr_db", "received", 7)


def test_the_opposite_does_not_hold(tmp_path: Path) -> None:
    assert found(tmp_path, arm="fast", against="slow", measure="mean_latency_s", at_least=0).verdict == "does not hold"


def test_with_few_seeds_the_range_decides(tmp_path: Path) -> None:
    finding = found(tmp_path, seeds=range(3), arm="fast", measure="final_value", at_least=0.885)
    assert (finding.mean, finding.low, finding.high) == pytest.approx((0.89, 0.88, 0.9))
    assert finding.verdict == "partly"


@pytest.mark.parametrize(
    ("claim", "mean"),
    [
        ({"arm": "lazy", "at_most": 5}, inf),  # it never got there, and would have needed nobody knows how long
        ({"arm": "lazy", "at_least": 0.2}, 0.3),
        ({"arm": "lazy", "against": "slow", "at_most": 0}, inf),
        ({"arm": "fast", "against": "lazy", "at_most": 2}, 1.3),  # at worst: lazy had spent 0.3 s when it gave up
        ({"arm": "fast", "against": "lazy", "at_least": 0}, -inf),
    ],
)
def test_a_missed_target_counts_against_the_claim(tmp_path: Path, claim: dict[str, Any], mean: float) -> None:
    finding = found(tmp_path, measure="time_to_target_s", **claim)
    assert finding.mean == pytest.approx(mean)
    assert finding.verdict == ("does not hold" if abs(mean) == inf else "holds")


def test_totals_of_whole_runs(tmp_path: Path) -> None:
    assert found(tmp_path, arm="slow", measure="uplink_bits", at_least=0).mean == 300
    assert found(tmp_path / "2", arm="slow", measure="energy_j", at_least=0).mean == 6
    assert found(tmp_path / "3", arm="fast", measure="simulated_time_s", at_least=0).mean == pytest.approx(2.4)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotJudged, match='no complete run of "quick"; there are runs of slow, fast, lazy'):
        found(tmp_path, arm="quick", measure="energy_j", at_most=1)
    with pytest.raises(NotJudged, match=r"a run has no answer_value; it has time_to_target_s, .*energy_j"):
        found(tmp_path / "2", arm="slow", measure="answer_value", at_most=1)
    with pytest.raises(NotJudged, match="perplexity on test was never evaluated"):
        found(tmp_path / "3", "perplexity", arm="slow", measure="final_value", at_most=1)


def test_an_unknown_measure_is_refused_before_anything_is_run() -> None:
    with pytest.raises(ValueError, match=r"no measure is called 'energy'; nearest is energy_j; allowed: time_to.*NAME"):
        Claim(says="", arm="slow", measure="energy", at_most=1)
    assert Claim(says="", arm="slow", measure="decision cut", at_most=1).measure == "decision cut"


def test_arms_without_a_common_seed_prove_nothing(tmp_path: Path) -> None:
    arms = {"a": {1: MadeUp()}, "b": {2: MadeUp()}}
    claim = Claim(says="", arm="a", against="b", measure="energy_j", at_most=inf)
    (finding,) = judge([claim], load_sweep(write_sweep(tmp_path / "sweep", arms)).runs, Goal())
    assert isnan(finding.mean)
    assert (finding.seeds, finding.verdict) == (0, "does not hold")


def test_a_claim_needs_a_rule() -> None:
    with pytest.raises(ValueError, match="needs at_least or at_most"):
        Claim(says="", arm="a", measure="energy_j")
    with pytest.raises(ValueError, match="needs `against`"):
        Claim(says="", arm="a", measure="energy_j", at_most=1, relative=True)
    rule = Claim(says="", arm="a", against="b", measure="energy_j", at_least=0, at_most=1, relative=True).rule
    assert rule == "relative difference of energy_j at least 0 and at most 1"
