"""Requests to a mixture of experts at sites of a network: numbers against the whole model, times against formulas."""

from dataclasses import replace
from itertools import pairwise
from math import ceil, log2
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from expert_cells import GAIN, NOISE_W_PER_HZ
from learning.models import Experts, Gpt, Vit
from learning.schemes import moe_inference
from learning.schemes.moe_inference import MoeInference
from learning.store import Store
from learning.world import World
from moe_cells import IMAGES, LENGTH, SITES, WORDS, Cell, Held, Told, asked
from netsim.description import SiteDescription
from netsim.radio.fading import NoFading, Rayleigh
from netsim.slowdown import NoSlowdown, ShiftedExponential
from netsim.traffic import PeriodicArrivals, PoissonArrivals
from netsim.values import ConstantPerUser
from runs import frame, hashes

EVERYWHERE = tuple((layer, expert) for layer in range(2) for expert in range(4))
PLACEMENTS: dict[str, dict[str, tuple[tuple[int, int], ...]]] = {
    "cloud": {},
    "near": {"near": EVERYWHERE},
    "device": {"user0": EVERYWHERE, "user1": EVERYWHERE},
    "mixed": {"near": ((0, 0), (0, 1), (1, 2)), "far": ((0, 1), (0, 2), (1, 3)), "user0": ((1, 0),)},
}
SHAKY = Cell(
    users=2,
    fading=Rayleigh(coherence_time_s=0.003),
    slowdown=ShiftedExponential(1.0, 2.0),
    arrivals=PoissonArrivals(ConstantPerUser(1.0)),
    sites={**SITES, "far": SiteDescription(5e6, station=0, slots=2)},
)
TEXTS = Gpt(16, 2, 2, experts=Experts(4, 2, shared=1))


def whole(told: Told, prompt: int | None = None) -> dict[tuple[int, int], torch.Tensor]:
    """Logits of the whole model, computed in one operation for each sample that was asked about."""
    world, answers = told.world, {}
    for user, row in told.logits:
        logits = world.chain(world.initial(world.whole), world.dataset.test.x[row : row + 1])
        answers[user, row] = logits if prompt is None else logits[:, prompt - 1]
    return answers


@pytest.mark.parametrize(
    ("model", "precision"),
    [(IMAGES, "float64"), (TEXTS, "float64"), (TEXTS, "float32")],
    ids=["images", "texts", "texts in float32"],
)
def test_answers_are_those_of_the_whole_model_wherever_experts_are(
    model: Any, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fading, slow devices and queues move every message. Between placements not a bit differs; from the whole model,
    whose matrix products have other sizes, by rounding."""
    cell = replace(SHAKY, model=model, texts=model is TEXTS, precision=precision)
    tolerance = {"float64": 1e-12, "float32": 1e-6}[precision]
    first = None
    for held in PLACEMENTS.values():
        told = asked(monkeypatch, cell, Held(held=held))
        assert len(told.logits) >= 5
        for name, logits in whole(told, LENGTH if model is TEXTS else None).items():
            torch.testing.assert_close(told.logits[name], logits, rtol=tolerance, atol=tolerance)
        first = first or told
        both = told.logits.keys() & first.logits.keys()
        assert len(both) >= 5
        assert all(torch.equal(told.logits[name], first.logits[name]) for name in both)


def test_generated_texts_are_those_of_greedy_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole model, applied to the text so far, again and again; by the ids that it routes to, read per pass."""
    cell = Cell(model=TEXTS, texts=True)
    told = asked(monkeypatch, cell, Held(held=PLACEMENTS["mixed"], prompt_tokens=5, output_tokens=4))
    calls = frame(told.result, "expert_calls")
    passes = frame(told.result, "forward_passes")
    assert passes.groupby("request").tokens.apply(list).tolist() == [[5, 1, 1, 1]] * len(told.logits)
    assert passes.groupby("request").position.apply(list).tolist() == [[0, 5, 6, 7]] * len(told.logits)
    world = told.world
    weights, held_out = world.initial(world.whole), world.users[0].held_out
    assert held_out is not None
    for number in range(len(told.logits)):
        x, _ = held_out.at(number)
        text = x.tensor()[:, :5]
        for _ in range(3):
            text = torch.cat([text, world.whole(weights, text)[:, -1].argmax(-1, keepdim=True)], dim=1)
        _, ids = world.whole.routed(weights, text)
        for layer in range(2):
            wanted = np.bincount(ids[layer].flatten(), minlength=4)
            own = calls[(calls.request == number) & (calls.layer == layer)].groupby("expert").pairs.sum()
            assert own.reindex(range(4), fill_value=0).tolist() == wanted.tolist()


def formula(tokens: int, context: int, top_k: int, ends: int, *, bits: int = 64) -> dict[str, float]:
    """Segments in s of a pass at a single site "near" of the cell with one user, by the formulas of section 3.

    `context` tokens are attended to; `ends` are the FLOPs of embedding and head.
    """
    d, hidden, layers, experts = 16, 32, 2, 4
    trunk = tokens * (8 * d**2 + 4 * context * d + 2 * d * experts)
    pairs = tokens * top_k
    up = tokens * d * bits + pairs * (ceil(log2(layers * experts)) + 16) + 128
    return {
        "trunk_s": (layers * trunk + ends) / 1e6,
        "uplink_s": layers * up / rate_bps(1e6, 0.1),
        "queue_s": 0.0,
        "expert_s": layers * pairs * 4 * d * hidden / 1e7,
        "downlink_s": layers * (tokens * d * bits + 128) / rate_bps(2e6, 1.0),
        "straggle_s": 0.0,
    }


def rate_bps(bandwidth_hz: float, power_w: float) -> float:
    return bandwidth_hz * log2(1 + power_w * GAIN / (NOISE_W_PER_HZ * bandwidth_hz))


SEGMENTS = ["trunk_s", "uplink_s", "queue_s", "expert_s", "downlink_s", "straggle_s"]


@pytest.mark.parametrize("top_k", [1, 4])
@pytest.mark.parametrize("texts", [False, True], ids=["image", "text"])
def test_a_pass_takes_what_the_formulas_say(texts: bool, top_k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of 16 tokens, or a prompt of 5 and 3 output tokens, with 1 and with all experts for each token."""
    experts = Experts(4, top_k)
    if texts:
        model: Any = Gpt(16, 2, 2, expansion=2, experts=experts)
        scheme = MoeInference(cloud="near", prompt_tokens=5, output_tokens=3)
        wanted = [formula(*pair, top_k, 2 * 16 * WORDS) for pair in ((5, 5), (1, 6), (1, 7))]
    else:
        model, scheme = Vit(2, 16, 2, 2, experts=experts), MoeInference(cloud="near")
        wanted = [formula(16, 16, top_k, 2 * 16 * 4 * 16 + 2 * 16 * 10)]
    told = asked(monkeypatch, Cell(model=model, texts=texts), scheme)
    passes, requests = frame(told.result, "forward_passes"), frame(told.result, "requests")
    for number, latency_s in zip(requests.number, requests.latency_s, strict=True):
        own = passes[passes.request == number]
        np.testing.assert_allclose(own[SEGMENTS], pd.DataFrame(wanted)[SEGMENTS], rtol=0, atol=1e-9)
        assert latency_s == pytest.approx(sum(sum(each.values()) for each in wanted), abs=1e-9)


@pytest.mark.parametrize("held", PLACEMENTS.values(), ids=PLACEMENTS)
def test_the_segments_of_a_pass_add_up_to_its_duration(held: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told = asked(monkeypatch, replace(SHAKY, users=2, executor="dry"), Held(held=held))
    passes = frame(told.result, "forward_passes")
    assert len(passes) >= 5
    np.testing.assert_allclose(passes[SEGMENTS].sum(axis=1), passes.end_s - passes.start_s, rtol=0, atol=1e-9)
    assert (passes[SEGMENTS] > -1e-12).all(axis=None)
    assert (passes.straggle_s > 0).any() == (held == PLACEMENTS["mixed"])


def test_local_experts_send_nothing_and_experts_in_the_cloud_what_the_formula_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = Cell(model=Gpt(16, 2, 2, experts=Experts(4, 2)), texts=True)
    scheme = Held(held=PLACEMENTS["device"] | {"user1": ()}, prompt_tokens=1, output_tokens=3)
    local = asked(monkeypatch, cell, replace(scheme, held={"user0": EVERYWHERE}))
    assert not len(frame(local.result, "transfers"))
    assert len(frame(local.result, "expert_calls"))
    cloud = asked(monkeypatch, cell, replace(scheme, held={}))
    calls, tokens = frame(cloud.result, "expert_calls"), frame(cloud.result, "forward_passes").tokens.sum()
    assert (calls.bits_up + calls.bits_down).sum() == tokens * 2 * (2 * 16 * 64 + 2 * (3 + 16) + 2 * 128)
    transfers = frame(cloud.result, "transfers")
    assert transfers[transfers.direction == "up"].bits.sum() == calls.bits_up.sum()
    assert transfers[transfers.direction == "down"].bits.sum() == calls.bits_down.sum()


def latencies_s(told: Told) -> np.ndarray[Any, Any]:
    requests = frame(told.result, "requests").sort_values(["user", "number"])
    assert (requests.outcome == "served").all()
    return np.asarray(requests.latency_s)


ONE = Gpt(16, 2, 2, experts=Experts(4, 1))
QUIET = Cell(model=ONE, texts=True, executor="dry", arrivals=PeriodicArrivals(ConstantPerUser(0.4)))
"""A user alone, whose every request is one token to one expert in each of two layers."""


@pytest.mark.parametrize(
    ("cells", "schemes"),
    [
        ([QUIET, replace(QUIET, bandwidth_mhz=(0.5, 1.0)), replace(QUIET, bandwidth_mhz=(0.5, 0.2))], [{}]),
        ([QUIET, replace(QUIET, sites={**SITES, "cloud": SiteDescription(1e5, delay_s=0.05)})], [{}]),
        ([replace(QUIET, model=replace(ONE, experts=Experts(4, k))) for k in (1, 2, 4)], [{}]),
        ([replace(QUIET, model=replace(ONE, depth=depth)) for depth in (1, 2, 3)], [{}]),
        ([replace(QUIET, model=replace(ONE, width=width)) for width in (8, 16, 32)], [{}]),
        ([replace(QUIET, precision=precision) for precision in ("float32", "float64")], [{}]),
        ([QUIET], [{"near": EVERYWHERE}, {"near": EVERYWHERE[:5]}, {"near": EVERYWHERE[:2]}, {}]),
    ],
    ids=["rate", "speed", "experts of a token", "layers", "width", "bits", "nested placements"],
)
def test_no_request_is_faster_with_less(cells: Any, schemes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further setting has less of something, or needs more; at least one request is slower then."""
    settings = [(cell, held) for cell in cells for held in schemes]
    times = [latencies_s(asked(monkeypatch, cell, Held(held=held, prompt_tokens=1))) for cell, held in settings]
    for faster, slower in pairwise(times):
        assert (slower >= faster - 1e-12).all()
        assert (slower > faster + 1e-9).any()


def test_placement_changes_no_choice_of_experts_and_equal_runs_have_equal_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def choices(told: Told) -> dict[tuple[int, ...], int]:
        calls = frame(told.result, "expert_calls")
        calls = calls[~calls.interrupted]
        names = calls[["user", "request", "layer", "expert"]].itertuples(index=False)
        return dict(zip(map(tuple, names), calls.pairs, strict=True))

    first, again, moved = (
        asked(monkeypatch, SHAKY, Held(held=PLACEMENTS[name])) for name in ("cloud", "cloud", "mixed")
    )
    assert hashes(first.result) == hashes(again.result) != hashes(moved.result)
    assert choices(first) == choices(moved)


def test_experts_are_really_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sites return zeros, the answers are those of the same model with experts that return zeros.

    It has learnt with its experts, and loses more than 15 points of accuracy without. The residual path around them has
    learnt as well, so that its accuracy does not fall to that of a guess.
    """
    store = Store(tmp_path)
    model = Vit(4, 16, 1, 2, experts=Experts(4, 2))
    arrivals = PeriodicArrivals(ConstantPerUser(0.2))
    cell = Cell(model=model, pretrained_steps=60, users=2, arrivals=arrivals, precision="float32")
    learnt = asked(monkeypatch, cell, store=store)
    monkeypatch.setattr(moe_inference, "expert", nothing)
    without = asked(monkeypatch, cell, store=store)
    store.close()
    world = without.world
    weights = {name: value * (".experts." not in name) for name, value in world.initial(world.whole).items()}
    for (_, row), logits in without.logits.items():
        x = world.dataset.test.x[row : row + 1]
        torch.testing.assert_close(logits, world.chain(weights, x), rtol=1e-6, atol=1e-6)
    assert accuracy(learnt) > 0.75
    assert accuracy(without) < accuracy(learnt) - 0.15


def nothing(parameters: Any, tokens: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(tokens)


def accuracy(told: Told) -> float:
    evaluations = frame(told.result, "evaluations").query("split == 'answers' and metric == 'accuracy'")
    return float(np.average(evaluations.value, weights=evaluations.samples))


@pytest.mark.parametrize("prompt", [None, 5], ids=["images", "texts"])
def test_the_accuracy_of_a_period_is_that_of_its_answers(prompt: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, from the logits of the whole model; a request that ends after the last period is left out.

    Of a text it is that of the first output token, the sixth.
    """
    arrivals = PeriodicArrivals(ConstantPerUser(0.4))
    cell = Cell(users=2, arrivals=arrivals, model=TEXTS if prompt else IMAGES, texts=prompt is not None)
    scheme = MoeInference(period_s=2.0, prompt_tokens=prompt, output_tokens=2 if prompt else 1)
    told = asked(monkeypatch, cell, scheme)
    requests = frame(told.result, "requests")
    evaluations = frame(told.result, "evaluations").set_index(["round", "metric"])
    assert set(evaluations.split) == {"answers"}  # nothing is evaluated on the whole test set
    world, logits = told.world, whole(told, prompt)
    for period in range(3):
        own = requests[(requests.end_s > 2 * period) & (requests.end_s <= 2 * period + 2)]
        rows = [
            (int(user), row(world, int(user), int(number))) for user, number in zip(own.user, own.number, strict=True)
        ]
        guesses = torch.cat([logits[name] for name in rows])
        y = world.dataset.test.y[[each for _, each in rows]]
        y = y if prompt is None else y[:, prompt - 1]
        assert evaluations.value[period, "accuracy"] == pytest.approx((guesses.argmax(1) == y).double().mean().item())
        loss = torch.nn.functional.cross_entropy(guesses, y).item()
        assert evaluations.value[period, "loss"] == pytest.approx(loss, rel=1e-9)
        assert (evaluations.samples[period] == len(own)).all()
        assert evaluations.time_s[period, "loss"] == 2 * period + 2


def row(world: World, user: int, number: int) -> int:
    """Row in the test set of the sample that a request is about."""
    held_out = world.users[user].held_out
    assert held_out is not None
    return int(held_out.at(number)[1].indices[0])


def test_other_networks_and_placements_run_no_operation_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests are served before the only period ends, in every setting."""
    cell = replace(SHAKY, arrivals=PeriodicArrivals(ConstantPerUser(1.0)), duration_s=5.0)
    others = [
        (cell, PLACEMENTS["mixed"]),
        (replace(cell, fading=NoFading(), device_flops_per_s=3e6), PLACEMENTS["near"]),
        (replace(cell, bandwidth_mhz=(3.0, 5.0), slowdown=NoSlowdown()), {}),
    ]
    store = Store(tmp_path)
    first = asked(monkeypatch, cell, Held(held=PLACEMENTS["device"]), store)
    assert first.result.operations["run"] > 0
    for other, held in others:
        told = asked(monkeypatch, other, Held(held=held), store)
        assert told.result.operations["run"] == 0 < told.result.operations["stored"]
        assert told.logits.keys() == first.logits.keys()
    store.close()
