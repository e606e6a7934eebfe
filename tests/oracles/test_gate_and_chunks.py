"""The gate at the station, and prompts that pass in chunks: values against the plain way, times against formulas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log2
from typing import Any

import numpy as np
import pytest
import torch

from expert_cells import GAIN, NOISE_W_PER_HZ
from learning.control.placement.controller import CloudOnly
from learning.dispatch import ChannelAware, FromCloud
from learning.models import Experts, Gpt
from learning.policies import FirstK, Policy, WaitForAll
from learning.protocols.caller import StationCaller, call_s
from learning.schemes.moe_inference import MoeInference
from moe_cells import SITES, WORDS, Cell, Held, Told, asked
from netsim.description import EdgeServersDescription, SiteDescription
from netsim.radio.fading import Rayleigh
from netsim.slowdown import ShiftedExponential
from netsim.traffic import PeriodicArrivals
from netsim.values import ConstantPerUser
from runs import frame
from scenarios.errors import FieldError
from scenarios.schema import Scenario

D, HIDDEN, EXPERTS, BITS, PROMPT = 16, 32, 4, 64, 6
TEXTS = Gpt(D, 2, 2, expansion=2, experts=Experts(EXPERTS, 2))
SEGMENTS = ["trunk_s", "uplink_s", "queue_s", "expert_s", "downlink_s", "straggle_s"]
EVERYWHERE = tuple((layer, expert) for layer in range(2) for expert in range(EXPERTS))


@dataclass(frozen=True)
class EdgeCell(Cell):
    """The cell with a server at its station, with which users work."""

    model: Any = TEXTS
    texts: bool = True
    policy: Policy = WaitForAll()

    def scenario(self, scheme: MoeInference) -> Scenario:
        plain = super().scenario(scheme)
        compute = replace(plain.compute, edge_servers=EdgeServersDescription(1e7))
        return replace(plain, compute=compute, learning=replace(plain.learning, servers="nearest", policy=self.policy))


ONCE: dict[str, Any] = {"prompt_tokens": PROMPT, "miss": FromCloud(fetch=False)}
SHAKY = EdgeCell(
    users=2,
    fading=Rayleigh(coherence_time_s=0.003),
    slowdown=ShiftedExponential(1.0, 2.0),
    arrivals=PeriodicArrivals(ConstantPerUser(0.34)),
    sites={**SITES, "far": SiteDescription(5e5, station=0)},
)
SPREAD = {"server0": ((0, 0), (0, 1), (1, 2)), "near": ((0, 1), (0, 2), (1, 3)), "far": ((0, 3), (1, 0))}


def same_answers(first: Told, second: Told, tolerance: float) -> None:
    both = first.logits.keys() & second.logits.keys()
    assert len(both) >= 3
    for name in both:
        torch.testing.assert_close(first.logits[name], second.logits[name], rtol=tolerance, atol=tolerance)


def choices(told: Told) -> Any:
    """Pairs of each request, layer and expert."""
    calls = frame(told.result, "expert_calls")
    return calls[~calls.interrupted].groupby(["user", "request", "layer", "expert"]).pairs.sum()


@pytest.mark.parametrize(
    ("precision", "tolerance", "layers", "chunk"),
    [("float64", 1e-12, None, 1), ("float32", 1e-6, (0,), 4)],
    ids=["experts in all layers", "a dense layer at the end"],
)
def test_prompts_in_chunks_have_the_answers_of_whole_ones(
    precision: str, tolerance: float, layers: Any, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Experts at a slow site let chunks overtake each other between the stages."""
    cell = replace(SHAKY, precision=precision, model=replace(TEXTS, experts=Experts(EXPERTS, 1, layers=layers)))
    scheme = Held(held={} if layers else SPREAD, prompt_tokens=PROMPT, output_tokens=2)
    whole, chunked = (asked(monkeypatch, cell, replace(scheme, inflight_tokens=each)) for each in (PROMPT, chunk))
    same_answers(whole, chunked, tolerance)
    common = choices(chunked).index.intersection(choices(whole).index)
    assert (choices(chunked)[common] == choices(whole)[common]).all()
    passes = frame(chunked.result, "forward_passes").query("request == 0 and user == 0").sort_values("position")
    starts = list(range(0, PROMPT, chunk))
    assert passes.position.tolist() == [*starts, PROMPT]
    assert passes.tokens.tolist() == [*(min(chunk, PROMPT - start) for start in starts), 1]
    np.testing.assert_allclose(passes[SEGMENTS].sum(axis=1), passes.end_s - passes.start_s, rtol=0, atol=1e-9)


def test_a_chunk_waits_for_the_stage_before_and_overlaps_with_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer at one site: each chunk takes its turn on the device, uplink, site and downlink, one after another.

    Dry runs choose the same experts for a chunked prompt as for a whole one.
    """
    model = replace(TEXTS, depth=1)
    cell = EdgeCell(model=model, executor="dry", arrivals=PeriodicArrivals(ConstantPerUser(0.3)))
    scheme = MoeInference(cloud="near", **ONCE)
    free_s = np.zeros(4)
    for start in range(0, PROMPT, 2):
        trunk = 2 * (8 * D**2 + 4 * (start + 2) * D + 2 * D * EXPERTS)
        up = 2 * D * BITS + 4 * (ceil(log2(EXPERTS)) + 16) + 128
        stages = [trunk / 1e6, up / up_bps(), 4 * 4 * D * HIDDEN / 1e7, (2 * D * BITS + 128) / down_bps()]
        at_s = 0.0
        for place, stage_s in enumerate(stages):
            free_s[place] = at_s = max(at_s, free_s[place]) + stage_s
    whole, chunked = (asked(monkeypatch, cell, replace(scheme, inflight_tokens=chunk)) for chunk in (None, 2))
    found = frame(chunked.result, "requests").latency_s
    np.testing.assert_allclose(found, free_s[-1] + 2 * D * WORDS / 1e6, rtol=0, atol=1e-9)
    assert (found < frame(whole.result, "requests").latency_s).all()
    assert (choices(chunked) == choices(whole)).all()


def up_bps() -> float:
    return 1e6 * log2(1 + 0.1 * GAIN / (NOISE_W_PER_HZ * 1e6))


def down_bps() -> float:
    return 2e6 * log2(1 + 1.0 * GAIN / (NOISE_W_PER_HZ * 2e6))


def test_where_the_gate_is_changes_no_bit_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays of zero weight are asked for at both places."""
    scheme = Held(held=SPREAD, prompt_tokens=PROMPT, output_tokens=2, gating=ChannelAware(0.0))
    user, station = (asked(monkeypatch, SHAKY, replace(scheme, gate=gate)) for gate in ("user", "station"))
    same_answers(user, station, 0.0)


@pytest.mark.parametrize("cloud", ["server0", "near", "cloud"])
def test_a_pass_with_the_gate_at_the_station_takes_what_the_formulas_say(
    cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Experts of the server itself, of another one at the station, or of a distant one, over the backhaul.

    Tokens go up once a layer, sums come down once, whatever sites are called.
    """
    told = asked(monkeypatch, EdgeCell(), MoeInference(cloud=cloud, gate="station", **ONCE))
    speed = {"server0": 1e7, "near": 1e7, "cloud": 1e8}[cloud]
    hidden, pairs = PROMPT * D * BITS + 128, PROMPT * 2
    call = PROMPT * D * BITS + pairs * (ceil(log2(2 * EXPERTS)) + 16) + 128
    line = lambda bits: bits / 1e6 + 0.01 + 0.05 if cloud == "cloud" else 0.0  # noqa: E731
    wanted = {
        "trunk_s": (2 * PROMPT * (8 * D**2 + 4 * PROMPT * D) + 2 * D * WORDS) / 1e6
        + 2 * PROMPT * 2 * D * EXPERTS / 1e7,
        "uplink_s": 2 * (hidden / up_bps() + line(call)),
        "queue_s": 0.0,
        "expert_s": 2 * pairs * 4 * D * HIDDEN / speed,
        "downlink_s": 2 * (hidden / down_bps() + line(hidden)),
        "straggle_s": 0.0,
    }
    passes, transfers = frame(told.result, "forward_passes"), frame(told.result, "transfers")
    np.testing.assert_allclose(passes[SEGMENTS], [[wanted[name] for name in SEGMENTS]] * len(passes), rtol=0, atol=1e-9)
    radio = transfers[transfers.direction != "backhaul"]
    assert radio.groupby("direction").size().tolist() == [2 * len(passes)] * 2
    assert (radio.bits == hidden).all()
    calls = frame(told.result, "expert_calls").groupby("call")[["bits_up", "bits_down"]].sum()
    assert calls.to_numpy() == pytest.approx(np.array([[0, 0] if cloud == "server0" else [call, hidden]] * len(calls)))
    gates = frame(told.result, "computations").query("kind == 'gate'")
    assert set(gates.node) == {"server0"}
    assert (gates.flops == PROMPT * 2 * D * EXPERTS).all()
    user, sites, free = told.world.users[0], told.world.sites, told.world.executor.plan(torch.clone, torch.zeros(1))
    rates_bps = StationCaller(user, sites["server0"]).rates_bps()
    expected_s, _ = call_s(user, sites[cloud], call, free, hidden, rates_bps)
    assert expected_s == pytest.approx(line(call) + line(hidden))


@pytest.mark.parametrize(
    ("cell", "scheme", "sentence"),
    [
        (Cell(), MoeInference(gate="station"), "gate station needs a server at each station"),
        (
            EdgeCell(),
            MoeInference(gate="station", placement=CloudOnly(device_share=0.5)),
            "let placement.device_share be 0",
        ),
        (EdgeCell(policy=FirstK(1)), MoeInference(), "learning.policy has no effect"),
        (Cell(), MoeInference(inflight_tokens=2), "samples are no texts; leave out prompt_tokens, inflight_tokens"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    cell: Cell, scheme: MoeInference, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FieldError, match=sentence):
        asked(monkeypatch, replace(cell, executor="dry"), scheme)
