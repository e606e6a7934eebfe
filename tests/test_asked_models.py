"""Scenarios in which users ask a model with experts: what is refused, charged, and the same under every executor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from learning import charge
from learning.models import Experts, Gpt, Vit
from learning.routing import ZipfRouting
from learning.schemes.moe_inference import MoeInference
from moe_cells import IMAGES, Cell, asked
from netsim.description import SiteDescription
from runs import NEEDS, TINY, frame, hashes, run
from scenarios import load, simulate
from scenarios.errors import ScenarioError

TEXTS = Gpt(16, 2, 2, experts=Experts(4, 2))
ASKED = NEEDS["moe_inference"]


def test_eager_and_batched_executors_tell_the_same() -> None:
    """In float64, where no two experts are so nearly equal that rounding decides between them."""
    setting = {"learning__scheme": "moe_inference", "learning__precision": "float64", "learning__stop": {"time_s": 2.0}}
    eager, batched = (run(learning__executor=name, **setting) for name in ("eager", "batched"))
    for table in ("transfers", "computations", "expert_calls", "forward_passes", "requests", "rounds"):
        assert eager.tables[table] == batched.tables[table], table
    values = [frame(each, "evaluations").value for each in (eager, batched)]
    assert len(values[0]) > 2
    np.testing.assert_allclose(*values, rtol=1e-9)


def test_a_dry_run_makes_the_same_requests_and_draws_the_choice_of_experts() -> None:
    """By Zipf's law; with temporal locality a token decoded often goes to the experts of the token before."""
    cell = Cell(model=TEXTS, texts=True, executor="dry")
    scheme = MoeInference(prompt_tokens=3, output_tokens=8, routing=ZipfRouting(2.0, reuse=0.9))
    results = [simulate(cell.scenario(scheme)) for _ in range(2)]
    assert hashes(results[0]) == hashes(results[1])
    assert frame(results[0], "evaluations").value.isna().all()
    assert len(frame(results[0], "evaluations"))
    changes = {reuse: changed(cell, replace(scheme, routing=ZipfRouting(0.0, reuse=reuse))) for reuse in (0.0, 0.9)}
    assert changes[0.9] < 0.4 < changes[0.0]
    pairs = frame(results[0], "expert_calls").groupby("expert").pairs.sum()
    assert pairs[0] == pairs.max()


def changed(cell: Cell, scheme: MoeInference) -> float:
    """Share of successive decoded tokens that go to other experts in the first layer."""
    calls = frame(simulate(cell.scenario(scheme)), "expert_calls").query("layer == 0 and tokens == 1")
    sets = calls.groupby(["request", "call"]).expert.agg(frozenset).reset_index()
    after = sets.groupby("request").expert.shift()
    return float((sets.expert != after)[after.notna()].mean())


def test_a_charged_model_makes_the_calls_of_the_small_one_in_its_own_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times and bits are those of a run of the large model itself, whose experts are drawn alike in dry runs."""
    size = {"family": "gpt", "width": 48, "depth": 2, "heads": 4, "expansion": 4, "vocabulary": 11}
    described = {"count": 4, "top_k": 2, "expansion": 2.0, "gated": True, "shared": 0}
    monkeypatch.setitem(charge.SIZES, "mixtral_8x7b", {**size, "experts": described})
    large = Gpt(48, 2, 4, experts=Experts(4, 2, expansion=2.0, gated=True))
    cells = [
        Cell(model=TEXTS, texts=True, executor="dry", charge_as="mixtral_8x7b"),
        Cell(model=large, texts=True, executor="dry"),
    ]
    scheme = MoeInference(prompt_tokens=4, output_tokens=3)
    charged, itself = (simulate(cell.scenario(scheme)) for cell in cells)
    assert len(frame(itself, "forward_passes")) >= 6
    for table in ("forward_passes", "expert_calls", "transfers"):
        pd.testing.assert_frame_equal(frame(charged, table), frame(itself, table), check_exact=True)
    for experts, what in ((Experts(3, 2), "count = 4, not 3"), (Experts(4, 1), "top_k = 2, not 1")):
        with pytest.raises(ScenarioError, match=rf"charge_as need learning\.model\.experts\.{what}"):
            simulate(replace(cells[0], model=replace(TEXTS, experts=experts)).scenario(scheme))


@pytest.mark.parametrize(
    ("cell", "scheme", "sentence"),
    [
        (Cell(model=Vit(2, 16, 2, 2)), {}, r"learning\.scheme: no layer of the model has experts"),
        (Cell(), {"cloud": "sky"}, "no site is called sky; give it in compute.sites"),
        (
            Cell(),
            {"output_tokens": 2},
            "samples are no texts; leave out prompt_tokens, inflight_tokens and output_tokens",
        ),
        (Cell(), {"prompt_tokens": 2}, "samples are no texts"),
        (Cell(model=TEXTS, texts=True), {"prompt_tokens": 9, "output_tokens": 5}, r"= 14, but samples have 12 tokens"),
        (Cell(model=TEXTS, texts=True), {"output_tokens": 13}, r"= 14, but samples have 12 tokens"),
        (Cell(users=61), {}, "user [0-9]+ has no sample of the test set to ask about; use more test samples"),
        (Cell(charge_as="vit_b16"), {}, r"charge_as need learning\.model\.depth = 12, not 2"),
        (
            Cell(sites={"cloud": SiteDescription(1e8, storage_bytes=1e4)}),
            {},
            r"learning\.scheme: .*expert 1 of layer 0",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_before_the_run(cell: Cell, scheme: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        simulate(cell.scenario(MoeInference(**scheme)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"learning.adapter": {"rank": 2}}, r"learning\.scheme: nothing is trained; leave out learning\.adapter"),
        ({"learning.model": "mlp"}, r"learning\.scheme: .*choose vit or gpt, with experts"),
        (
            {"learning.stop": {"accuracy": 0.5, "rounds": 2}},
            r"stop\.accuracy goes by models .* reports none",
        ),
        ({"learning.scheme.period_s": 0}, r"period_s=0: found 0; a number >= 0.001 is allowed"),
    ],
)
def test_scenarios_that_do_not_fit_the_scheme_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        simulate(load(TINY, {**ASKED, **changes}))


def test_the_longest_prompt_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(model=TEXTS, texts=True, executor="dry", duration_s=2.0)
    for outputs, prompt in ((1, 12), (3, 10)):
        told = asked(monkeypatch, cell, MoeInference(output_tokens=outputs))
        passes = frame(told.result, "forward_passes")
        assert passes[passes.position == 0].tokens.unique().tolist() == [prompt]


def test_users_ask_about_their_own_part_of_the_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    told = asked(monkeypatch, Cell(users=3, executor="dry", model=IMAGES))
    parts = [set(user.held_out.indices.tolist()) for user in told.world.users if user.held_out is not None]
    assert sum(map(len, parts)) == 60 == len(set.union(*parts))
    assert {user for user, _ in told.logits} == {0, 1, 2}
    assert all(row in parts[user] for user, row in told.logits)
    assert len(told.logits) == len(
        frame(told.result, "requests")
    )  # about another sample each, until all were asked about
