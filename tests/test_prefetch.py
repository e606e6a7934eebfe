"""Prefetch of experts: what is predicted, fetched and needed, beside the calls and transfers of the same run."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from learning.inference.operations import predicted
from runs import frame
from scenarios import ScenarioError, load, simulate
from scenarios.field_errors import FieldError
from scenarios.run import Result

DEPTH, EXPERTS, TOP_K, WIDTH = 4, 8, 2, 16
EXPERT_BITS = 32 * (2 * 2 * WIDTH * WIDTH + 3 * WIDTH)
"""Two matrices of 16 x 32 with their biases."""

CELL = f"""
network:
  users: {{count: 2}}
  backhaul: {{rate_bps: 1.0e+8, delay_s: 0.002}}
compute:
  devices: {{flops_per_s: 1.0e+8}}
  edge_servers: {{flops_per_s: 1.0e+8, storage_bytes: {16 * EXPERT_BITS // 8}, eviction: lru}}
  sites: {{cloud: {{flops_per_s: 1.0e+9, delay_s: 0.02}}}}
traffic:
  duration_s: 4
  streams:
    questions: {{arrivals: {{name: poisson, rate_per_s: 1}}, answered_by: model}}
learning:
  executor: dry
  data: {{name: digits, train_samples: 100, test_samples: 60}}
  model:
    {{name: vit, patch: 2, width: {WIDTH}, depth: {DEPTH}, heads: 2, experts: {{count: {EXPERTS}, top_k: {TOP_K}}}}}
  servers: nearest
  scheme: {{name: moe_inference, period_s: 4, miss: {{name: cloud, fetch: false}}, prefetch: next_gate}}
  stop: {{rounds: 1}}
"""


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    file = tmp_path / "cell.yaml"
    file.write_text(CELL)
    return file


def ran(cell: Path, **changes: Any) -> Result:
    return simulate(load(cell, {name.replace("__", "."): value for name, value in changes.items()}))


def sets(rows: pd.DataFrame) -> dict[tuple[int, int, int], set[int]]:
    """Experts by user, request and layer; a request has one pass here."""
    return rows.groupby(["user", "request", "layer"]).expert.agg(set).to_dict()


def test_a_prediction_changes_no_answer(cell: Path) -> None:
    with_it, without = (
        ran(cell, learning__executor="batched", learning__scheme__prefetch=prefetch) for prefetch in ("next_gate", None)
    )
    assert frame(with_it, "evaluations").equals(frame(without, "evaluations"))
    assert sets(frame(with_it, "expert_calls")) == sets(frame(without, "expert_calls"))
    assert frame(with_it, "expert_calls").hit.mean() > frame(without, "expert_calls").hit.mean()
    assert frame(without, "prefetches").empty
    found = frame(with_it, "prefetches")
    assert 1 / EXPERTS < found.needed.mean() < 1  # the gate of the next layer is no oracle, and no guess


def test_rows_say_what_was_needed_and_bits_are_those_of_the_transfers(cell: Path) -> None:
    result = ran(cell, learning__executor="batched")
    calls, found = sets(frame(result, "expert_calls")), frame(result, "prefetches")
    assert set(found.layer) == set(range(1, DEPTH))
    for row in found.itertuples():
        assert row.needed == (row.expert in calls[row.user, row.request, row.layer])
    fetched = frame(result, "transfers").query("kind == 'expert' and node == 'station0'")
    assert set(found.bits) == {0, EXPERT_BITS}
    assert found.bits.sum() == fetched.bits.sum()
    jobs = frame(result, "computations").query("kind == 'prefetch_gate'")
    passes = frame(result, "forward_passes")
    assert len(jobs) == (DEPTH - 1) * len(passes)
    assert set(jobs.flops) == {2 * WIDTH * EXPERTS * tokens for tokens in passes.tokens}


def test_a_dry_run_predicts_what_it_draws(cell: Path) -> None:
    result = ran(cell)
    found, calls = frame(result, "prefetches"), sets(frame(result, "expert_calls"))
    assert found.needed.all()
    assert sets(found) == {key: experts for key, experts in calls.items() if key[2] > 0}


@pytest.mark.parametrize(("rate_bps", "in_time"), [(1e9, True), (1e4, False)])
def test_a_fetch_over_a_slow_line_is_late(cell: Path, rate_bps: float, in_time: bool) -> None:
    """Where answers of experts go first on the line, only a fetch that was on it already comes before them."""
    discipline = {"name": "priority", "kinds": ["token"]}
    line = {"network__backhaul__rate_bps": rate_bps, "network__backhaul__discipline": discipline}
    found = frame(ran(cell, **line, network__users__count=1), "prefetches").query("bits > 0")
    first = found[(found.request == found.request.min()) & (found.layer == 1)]
    assert len(first) > 2
    assert first.in_time.sum() == (len(first) if in_time else 1)
    assert in_time or not found.duplicated(["layer", "expert"]).any()  # what is on the way is not sent again


def test_recorded_pairs_predict_by_what_was_chosen_before(cell: Path, tmp_path: Path) -> None:
    """Expert e is followed by e + 1 in the first recorded pair of layers, by e + 3 in the second, which is the last."""
    rows = [
        {"layer_a": layer, "layer_b": layer + 5, "expert_a": e, "expert_b": (e + step) % EXPERTS, "count": 9}
        for layer, step in ((0, 1), (5, 3))
        for e in range(EXPERTS)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "pairs.parquet")
    result = ran(cell, learning__scheme__prefetch={"name": "recorded_pairs", "file": "pairs.parquet"})
    calls = sets(frame(result, "expert_calls"))
    for (user, request, layer), experts in sets(frame(result, "prefetches")).items():
        step = 3 if layer == DEPTH - 1 else 1
        assert experts == {(e + step) % EXPERTS for e in calls[user, request, layer - 1]}


def test_the_next_gate_is_applied_to_the_tokens() -> None:
    generator = torch.Generator().manual_seed(1)
    gate, tokens = torch.randn(EXPERTS, WIDTH, generator=generator), torch.randn(1, 5, WIDTH, generator=generator)
    best = (tokens[0] @ gate.T).softmax(-1).topk(TOP_K).indices
    assert predicted({"2.feed.1.gate.weight": gate}, tokens, TOP_K).tolist() == best.tolist()


def test_what_does_not_fit_is_said_before_the_run(cell: Path, tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"^learning\.scheme: prefetch needs a cache; give compute\.edge_servers"):
        ran(cell, learning__servers="central")
    file = tmp_path / "pairs.parquet"
    pd.DataFrame({"layer_a": [0], "layer_b": [1], "expert_a": [2], "expert_b": [4], "count": [1]}).to_parquet(file)
    pairs = {"name": "recorded_pairs", "file": "pairs.parquet"}
    with pytest.raises(FieldError, match="layers have 8 experts, but pairs were recorded of 5"):
        ran(cell, learning__scheme__prefetch=pairs)
    with pytest.raises(ScenarioError, match=r"there is no file .*none\.parquet"):
        ran(cell, learning__scheme__prefetch=pairs | {"file": "none.parquet"})


def test_pairs_of_a_real_model_predict_better_than_chance(cell: Path) -> None:
    """OLMoE: a guess of 8 of 64 experts contains one that a token needs with probability 1/8."""
    if "NETSIM_DATA" not in os.environ:
        pytest.skip("NETSIM_DATA names no data folder")
    text = {"model": "OLMoE-1B-7B-0924", "domains": ["github", "arxiv"]}
    result = ran(
        cell,
        learning__model__depth=3,
        learning__model__patch=8,  # one token, and the class token
        learning__model__experts={"count": 64, "top_k": 8},
        learning__scheme__routing={"name": "recorded", "file": "moe_token_expert.parquet", **text},
        learning__scheme__prefetch={"name": "recorded_pairs", "file": "moe_layer_pairs.parquet", **text},
        compute__edge_servers__storage_bytes=192 * EXPERT_BITS // 8,
        traffic__duration_s=10,
    )
    found = frame(result, "prefetches")
    assert found.needed.mean() > 0.2
