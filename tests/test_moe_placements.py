"""Placements in `moe_inference`: where experts are called, what is predicted and measured, and what stays the same."""

from functools import cache
from json import dumps, loads
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import sweep_plots
from analysis.comparison.arms import Arm
from analysis.totals import total
from runs import frame
from scenarios import ScenarioError, load, simulate
from scenarios.run import Result

PAPER = Path(__file__).parents[1] / "scenarios" / "papers" / "expert_caching.yaml"
EXPERTS, LAYERS, EXPERT_BYTES = 4, 2, 33408
SMALL = {
    "network.users.count": 3,
    "learning.data.towns": 3,
    "learning.data.sentences": 60,
    "learning.pretraining": None,
    "learning.model": {
        "name": "gpt",
        "width": 32,
        "depth": LAYERS,
        "heads": 2,
        "experts": {"count": EXPERTS, "top_k": 2},
    },
    "compute.edge_servers.storage_bytes": 3 * EXPERT_BYTES,
    "traffic.duration_s": 20,
    "learning.scheme.period_s": 30,
    "learning.stop.rounds": 1,
}


def ran(**changes: Any) -> Result:
    """The scenario of the paper with three users and a small model whose weights are drawn."""
    return _ran(dumps({name.replace("__", "."): value for name, value in changes.items()}))


@cache
def _ran(changes: str) -> Result:
    return simulate(load(PAPER, SMALL | loads(changes)))


def decided(result: Result) -> pd.Series:
    return frame(result, "decisions").set_index("name").value


def decoded(result: Result) -> pd.DataFrame:
    """Passes of one token, with the time that they wait for experts."""
    passes = frame(result, "forward_passes").query("position > 0")
    return passes.assign(wait_s=passes.end_s - passes.start_s - passes.trunk_s)


RULES = ("none", "most_popular", "decomposition", {"name": "greedy", "device_share": 0.5})


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_experts_are_called_where_they_were_placed(rule: Any) -> None:
    """No server is called for more experts than it has storage for, and the decision says how many it holds."""
    share = rule.get("device_share", 0) if isinstance(rule, dict) else 0
    devices = {"compute__devices__storage_bytes": None} if share else {}
    result = ran(learning__scheme__placement=rule, **devices)
    calls = frame(result, "expert_calls")
    held = {node: set(zip(own.layer, own.expert, strict=True)) for node, own in calls.groupby("node")}
    for server in ("server0", "server2", "server4"):
        assert len(held.get(server, ())) <= decided(result)[f"experts {server}"] <= (0 if rule == "none" else 3)
    assert any(node.startswith("server") for node in held) == (rule != "none")
    assert (calls.hit == (calls.node != "cloud")).all()
    for user in range(3):
        assert len(held.get(f"user{user}", ())) <= share * EXPERTS * LAYERS
    assert bool(share) == any(node.startswith("user") for node in held)


def test_no_placement_changes_an_answer() -> None:
    """Bit for bit, in loss and accuracy of the answers, and in the experts that the gates choose."""
    results = [ran(learning__scheme__placement=rule) for rule in ("none", "most_popular", "decomposition")]
    answers = [frame(result, "evaluations").query("split == 'answers'").value.tolist() for result in results]
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 2
    chosen = [
        frame(result, "expert_calls").groupby(["user", "request", "layer", "expert"]).pairs.sum() for result in results
    ]
    assert chosen[0].equals(chosen[1])
    assert chosen[0].equals(chosen[2])
    latencies = [decoded(result).wait_s.mean() for result in results]
    assert latencies[2] < latencies[1] < latencies[0]


def test_a_user_alone_with_one_expert_a_token_decodes_exactly_as_predicted() -> None:
    """All experts at one place, so that the prediction does not depend on which the gates choose."""
    model = {**SMALL["learning.model"], "experts": {"count": EXPERTS, "top_k": 1}}
    alone = {"network.users.count": 1, "learning.data.towns": 1, "learning.model": model, "traffic.duration_s": 60}
    for rule in ("none", "everywhere"):
        changes = {**alone, "learning.scheme.placement": rule, "compute.edge_servers.storage_bytes": None}
        result = ran(**changes)
        waits_s = decoded(result).wait_s
        assert len(waits_s) > 5
        assert waits_s.to_numpy() == pytest.approx(decided(result)["predicted_latency_s"], rel=1e-9)


def test_the_predicted_placement_is_close_to_the_measured_one_at_low_load_and_not_at_high_load() -> None:
    """Two experts of a token at one server are one job, and messages share the radio: more than predicted, by less than
    half. Under load, queues add to that."""
    low = ran(learning__scheme__placement="decomposition")
    high = ran(
        learning__scheme__placement={"name": "decomposition", "requests_per_s": 6.0},
        traffic__streams__questions__arrivals__rate_per_s=2.0,
        traffic__duration_s=6,
    )
    predicted_s = decided(low)["predicted_latency_s"]
    assert predicted_s < decoded(low).wait_s.mean() < 1.5 * predicted_s
    assert decoded(high).wait_s.mean() > 1.2 * decoded(low).wait_s.mean()
    assert decided(high)["predicted_latency_s"] == predicted_s < decided(high)["queue_latency_s"]
    assert "queue_latency_s" not in decided(low).index


def test_a_dry_run_places_by_the_routing_distribution() -> None:
    result = ran(
        learning__executor="dry",
        learning__scheme__placement="decomposition",
        learning__scheme__routing={"name": "zipf", "exponent": 3.0},
    )
    calls = frame(result, "expert_calls")
    popular = calls[calls.expert == 0]
    assert (popular.node != "cloud").all()
    assert decided(result)["gate_entropy_bits"] < 1.7


def test_totals_of_tokens_are_those_of_decoding_passes(tmp_path: Path) -> None:
    result = simulate(load(PAPER, SMALL), tmp_path)
    run = analysis.load(tmp_path)
    times_s = (lambda passes: passes.end_s - passes.start_s)(decoded(result))
    assert total(run, "token_mean_s") == pytest.approx(times_s.mean())
    assert total(run, "token_p95_s") == pytest.approx(np.quantile(times_s, 0.95))
    (accuracy,) = frame(result, "evaluations").query("split == 'answers' and metric == 'accuracy'").value
    assert total(run, "answer_accuracy") == accuracy
    assert total(run, "expert_hit_share") == (frame(result, "expert_calls").node != "cloud").mean()


def test_the_figure_of_a_study_is_the_time_of_its_tokens(tmp_path: Path) -> None:
    """The parts add up to the mean time, of which the 95th percentile is marked; there is no accuracy over time."""
    simulate(load(PAPER, SMALL), tmp_path / "run")
    figure = sweep_plots.token_time([Arm("ours", {1: analysis.load(tmp_path / "run")})])
    (axes,) = figure.axes
    run = analysis.load(tmp_path / "run")
    unit = 1e-3 if "(ms)" in axes.get_xlabel() else 1.0
    assert sum(bar.get_width() for bars in axes.containers for bar in bars) * unit == pytest.approx(
        total(run, "token_mean_s")
    )
    assert axes.lines[0].get_xdata()[0] * unit == pytest.approx(total(run, "token_p95_s"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "everywhere"}, "the experts placed at server0 need 267264 bytes of storage, and it has 100224"),
        ({"name": "on_device"}, "all experts together need 267264 bytes of storage, and user 0 has less"),
        ({"name": "listed", "experts": {"edge": [[0]]}}, "servers that hold experts: server0, server2, server4"),
        (
            {"name": "listed", "experts": {"server2": [[0, 1]]}},
            "server2 need 133632 bytes of storage, and it has 100224",
        ),
    ],
)
def test_what_does_not_fit_is_refused_when_the_scenario_is_read(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        ran(learning__scheme__placement=changes)
