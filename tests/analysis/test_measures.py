"""Measures against hand-computed values: of small tables written out here, and of the synthetic run's closed form."""

from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

import analysis
from analysis import measures
from learning.stop import FALLING, StopMetric

EVALUATIONS = pd.DataFrame(
    {
        "round": [1, 2, 3, 4] * 3,
        "time_s": [10.0, 20.0, 30.0, 40.0] * 3,
        "split": "test",
        "metric": ["accuracy"] * 4 + ["loss"] * 4 + ["perplexity"] * 4,
        "value": [0.2, 0.8, 0.7, 0.9, 2.0, 0.5, 0.6, 0.3, 9.0, 4.0, 2.0, 3.0],
    }
)

PATH = pd.DataFrame(
    [
        (1, 0, "compute", 2.0),
        (1, 1, "airtime", 3.0),
        (1, None, "compute", 9.0),
        (2, 0, "airtime", 1.0),
        (2, 1, "straggle", 1.0),
        (3, None, "wait", 4.0),
    ],
    columns=["round", "user", "cause", "duration_s"],
).astype({"user": "Int64"})


@pytest.mark.parametrize(
    ("metric", "target", "seconds"),
    [
        ("accuracy", 0.2, 10.0),  # reached exactly
        ("accuracy", 0.75, 20.0),  # the first time counts, though it falls below again
        ("accuracy", 0.85, 40.0),
        ("accuracy", 0.95, None),
        ("loss", 0.55, 20.0),  # a loss has to fall
        ("loss", 0.1, None),
        ("perplexity", 2.5, 30.0),  # so has a perplexity
    ],
)
def test_time_to_is_the_first_evaluation_at_the_target(metric: str, target: float, seconds: float | None) -> None:
    assert measures.time_to(EVALUATIONS.sample(frac=1, random_state=0), metric, target) == seconds


def test_metrics_fall_for_comparisons_as_they_do_for_early_stopping() -> None:
    for metric in get_args(StopMetric):
        assert measures.lower_is_better(metric) == (metric in FALLING)


def test_missing_values_reach_no_target() -> None:
    assert measures.time_to(EVALUATIONS.assign(value=float("nan")), "accuracy", 0.0) is None


def test_a_metric_never_evaluated_is_an_error_that_names_the_others() -> None:
    with pytest.raises(
        analysis.NotRecorded,
        match=r"f1 on test was never evaluated; .*: accuracy on test, loss on test, perplexity on test",
    ):
        measures.time_to(EVALUATIONS, "f1", 0.5)


@pytest.mark.parametrize(("values", "mean"), [([0.2, 0.8, 0.7, 0.9], 0.8), ([0.2, 0.8, 0.7], 0.7), ([0.4], 0.4)])
def test_late_is_the_last_third_at_least_one(values: list[float], mean: float) -> None:
    assert measures.late_mean(pd.Series(values)) == pytest.approx(mean)


def test_spending_counts_the_rounds_that_are_over() -> None:
    rounds = pd.DataFrame(
        {"end_s": [1.0, 2.0, 3.0], "energy_j": [1.0, 10.0, 100.0], "uplink_bits": 1.0, "downlink_bits": 2.0}
    )
    assert measures.totals_until(rounds, 2.0).to_dict() == {"energy_j": 11.0, "uplink_bits": 2.0, "downlink_bits": 4.0}
    assert measures.totals_until(rounds, 0.5).to_dict() == {"energy_j": 0.0, "uplink_bits": 0.0, "downlink_bits": 0.0}


def test_latency_percentile_interpolates_between_order_statistics() -> None:
    latency = measures.round_latency(pd.DataFrame({"latency_s": [float(k) for k in range(1, 22)]}))
    assert latency.to_dict() == pytest.approx({"mean_s": 11.0, "median_s": 11.0, "p95_s": 20.0, "max_s": 21.0})


def test_time_by_cause_shares_out_the_critical_paths() -> None:
    table = measures.time_by(PATH, ["cause"])
    assert table["duration_s"].to_dict() == {"compute": 11.0, "airtime": 4.0, "wait": 4.0, "straggle": 1.0}
    assert table["share"].to_dict() == pytest.approx({"compute": 0.55, "airtime": 0.2, "wait": 0.2, "straggle": 0.05})


def test_a_round_is_decided_by_the_user_with_the_most_time_on_its_path() -> None:
    assert measures.deciding_user(PATH).to_dict() == {1: 1, 2: 0}  # a tie goes to the smaller number; round 3 to nobody


def test_time_by_user_keeps_the_time_of_nobody_apart() -> None:
    table = measures.time_by_user(PATH)
    nobody = table[table.index.isna()]
    assert nobody[["duration_s", "rounds_decided"]].to_numpy().tolist() == [[13.0, 0.0]]
    assert table.loc[0].tolist() == pytest.approx([3.0, 0.15, 1])
    assert table.loc[1].tolist() == pytest.approx([4.0, 0.2, 1])


def test_utilisation_divides_by_time_and_slots() -> None:
    computations = pd.DataFrame(
        {
            "node_kind": ["user", "user", "server", "server"],
            "node": ["user0", "user0", "server", "server"],
            "service_s": [1.0, 2.0, 4.0, 4.0],
            "wait_s": [0.0, 0.0, 1.0, 3.0],
        }
    )
    table = measures.utilisation(computations, duration_s=10.0, slots={"server": 2})
    assert table["utilisation"].tolist() == [0.4, 0.3]  # server, user 0
    assert table["wait_s"].tolist() == [2.0, 0.0]
    assert table["jobs"].tolist() == [2, 2]


def test_bits_are_what_was_delivered() -> None:
    transfers = pd.DataFrame(
        {"user": [0, 0, 1], "direction": ["up", "up", "down"], "bits": 8.0, "lost": [0.0, 6.0, 8.0]}
    )
    assert measures.bits_by(transfers, ["user", "direction"]).to_dict() == {(0, "up"): 10.0, (1, "down"): 0.0}


def test_participation_counts_the_dropped_among_those_asked() -> None:
    part = measures.participation(pd.DataFrame({"participants": [3, 4], "dropped": [1, 0]}))
    assert part.to_dict() == {"participants": 3.5, "dropped": 1.0, "dropped_share": 0.125}


def test_a_run_answers_in_its_closed_form(run_dir: Path) -> None:
    """3 users, 2 rounds of 2 mini-batches; user 2 is the slowest: 2 + 2 (8 + 3.5 x 2) + 1 + 0.5 = 33.5 s a round."""
    run = analysis.load(run_dir)
    assert run.time_to("accuracy", 0.75) == 67.0
    assert run.time_to("accuracy", 0.76) is None
    assert run.energy_to("accuracy", 0.76) is None
    assert run.bits_to("accuracy", 0.76) is None
    assert run.bits_to("accuracy", 0.5) == 3 * (4e6 + 2 * 1e6) + 4e6 + 3 * 2 * 8e5
    assert run.energy_to("loss", 0.25) == pytest.approx(run.energy_by_user()["total_j"].sum(), rel=1e-12)
    assert run.round_latency()["p95_s"] == 33.5
    assert run.time_by_cause()["duration_s"].to_dict() == {
        "compute": 41.0,
        "airtime": 18.0,
        "queue": 4.0,
        "straggle": 4.0,
    }
    assert run.time_by_user().loc[2, "rounds_decided"] == 2
    assert run.utilisation().loc[("user", "user 1"), "utilisation"] == pytest.approx(2 * 2 * 7 / 67)
    assert run.participation()["dropped_share"] == 0.25


def test_energy_by_user_sums_components_over_rounds(run_dir: Path) -> None:
    """User 0 in each round: sending 5 s at 1 W, receiving 4 s at 0.5 W, computing 8 s at 2 W, idle 16.5 s at 0.1 W."""
    energy = analysis.load(run_dir).energy_by_user().loc[0]
    assert energy.to_dict() == pytest.approx(
        {"transmit_j": 10.0, "receive_j": 4.0, "compute_j": 32.0, "idle_j": 3.3, "tail_j": 0.0, "total_j": 49.3}
    )
