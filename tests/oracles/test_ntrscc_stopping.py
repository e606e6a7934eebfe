"""NTRSCC: receivers that stop when they have decoded, and streams that end when all have acknowledged."""

import itertools
from collections.abc import Callable
from math import ceil, tanh
from typing import Any

import pytest
import torch

from fakes import FakeStreams
from learning.fountain.evolution import mean_tanh
from learning.fountain.graph import draw_graph
from learning.fountain.propagation import EDGE_OPERATIONS, SYNDROME_OPERATIONS
from learning.jscc import operators
from learning.jscc.autoencoder import Transforms
from learning.jscc.code import Code
from runs import TINY
from scenarios import load, simulate
from scenarios.errors import ScenarioError

SMALL = Transforms(bits=24, hyper=3, width=16)
IMAGES, MOST = 4, 96
SCHEME: dict[str, Any] = {
    "name": "ntrscc",
    "images": IMAGES,
    "transforms": {"bits": 24, "hyper": 3, "width": 16},
    "listening": {"symbols": 0.5, "iterations": 6, "stop": "decoded", "block": 5},
    "training": {"steps": [3, 2, 2], "batch_size": 4},
}
WEAK: dict[str, Any] = {
    "network.users": {"count": 3, "placement": {"name": "list", "positions_m": [[300, 0], [900, 0], [5000, 0]]}},
    "network.channel": {"path_loss": "free_space", "fading": "none"},
    "network.stations.tx_power_dbm": 2,
    "learning.partition": "iid",
    "energy.receive_power_w": 0.2,
}
"""Users with 14, 5 and -10 dB, on a band of 1 MHz."""


def result(scheme: dict[str, Any] | None = None, executor: str = "eager", rounds: int = 3, **changed: Any) -> Any:
    described = {**SCHEME, **(scheme or {})}
    settings = {"learning.scheme": described, "learning.executor": executor, "learning.stop": {"rounds": rounds}}
    return simulate(load(TINY, {**WEAK, **settings, **changed}))


def received(ran: Any) -> Any:
    """Metrics of each round and user."""
    found = ran.table("evaluations").to_pandas()
    own = found[(found.split == "received") & found.user.notna()]
    return own.pivot(index=["round", "user"], columns="metric", values="value")


def test_the_relative_soft_syndrome_is_that_of_loops_over_symbols_and_neighbours() -> None:
    code, n, m = Code(max_symbols=2), 3, 48
    parameters = SMALL.initial(FakeStreams(1), 64, torch.float64)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((n, 1, 8, 8), generator=generator).double()
    latents = SMALL.analyse(parameters, x)
    bits = (latents.llrs < 0).long()
    u, noise = torch.rand((m, 26), generator=generator).double(), torch.randn((n, m), generator=generator).double()
    snr = torch.tensor([1.0, 4.0, 0.0, 0.5] * (m // 4)).double()
    decoded = torch.randn((n, 24), generator=generator).double()
    graph = draw_graph(u, code.degrees(24, {}), code.log_weights(latents))
    expected, heard = [], [j for j in range(m) if snr[j] > 0]
    known = sum(float(mean_tanh(2 * snr[j])) for j in heard) / len(heard)
    for image in range(n):
        total = 0.0
        for j in heard:
            inputs = [int(i) for i, used in zip(graph.neighbours[image, j], graph.used[image, j], strict=True) if used]
            sign = (-1) ** int(sum(bits[image, i] for i in inputs))
            llr = float(2 * snr[j] * sign + 2 * snr[j].sqrt() * noise[image, j])
            agreement = tanh(llr / 2)
            for i in inputs:
                agreement *= tanh(float(decoded[image, i]) / 2)
            total += agreement
        expected.append(total / len(heard) / known)
    sent = latents, code.degrees(24, {}), bits, u, noise
    found = code.syndrome(code.transmit(*sent, snr, 0)._replace(llrs=decoded), snr)
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("snr", [0.5, 1.0, 4.0])
def test_where_all_bits_are_known_it_is_one_at_any_noise_and_without_information_it_is_zero(snr: float) -> None:
    code, n, m = Code(), 200, 96
    parameters = SMALL.initial(FakeStreams(1), 64, torch.float64)
    generator = torch.Generator().manual_seed(1)
    latents = SMALL.analyse(parameters, torch.rand((n, 1, 8, 8), generator=generator).double())
    bits = (latents.llrs < 0).long()
    u, noise = torch.rand((m, 26), generator=generator).double(), torch.randn((n, m), generator=generator).double()
    ratios = torch.full((m,), snr).double()
    certain = 60.0 * (1 - 2 * bits)
    sent = latents, code.degrees(24, {}), bits, u, noise
    received, silent = code.transmit(*sent, ratios, 0), code.transmit(*sent, 0 * ratios, 0)
    found = code.syndrome(received._replace(llrs=certain), ratios)
    assert float(found.mean()) == pytest.approx(1, abs=4 * float(found.std()) / n**0.5 + 2e-3)  # the table's accuracy
    assert (code.syndrome(received._replace(llrs=0 * certain), ratios) == 0).all()
    assert (code.syndrome(silent._replace(llrs=certain), 0 * ratios) == 0).all()


Tries = dict[int, list[tuple[int, float]]]


def watched(monkeypatch: pytest.MonkeyPatch) -> Tries:
    """By address of the noise: symbols and mean syndrome of each decoding that is computed."""
    found: Tries = {}
    plain: Callable[..., Any] = operators.receive

    def check(*args: Any) -> Any:
        images, syndrome = plain(*args)
        noise, snr = args[6], args[7]
        if snr.device.type != "meta":
            found.setdefault(int(1e9 * float(noise[0, 0])), []).append((int((snr > 0).sum()), float(syndrome.mean())))
        return images, syndrome

    monkeypatch.setattr(operators, "receive", check)
    return found


def test_each_receiver_adds_blocks_until_its_soft_syndrome_is_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a loop over what its decodings have found: all but the last were not good enough."""
    tries = watched(monkeypatch)
    ran = result()
    quality = received(ran)
    assert len(tries) == len(quality) == 9
    ends = []
    for each in tries.values():
        counts, syndromes = [count for count, _ in each], [syndrome for _, syndrome in each]
        for before, after in itertools.pairwise(counts):
            assert after == min(before + 5, MOST)
        assert all(syndrome < 0.9 for syndrome in syndromes[:-1])
        assert syndromes[-1] >= 0.9 or counts[-1] == MOST
        ends.append((counts[-1], len(counts)))
    assert sorted(ends) == sorted(zip(quality.symbols, quality.decodings, strict=True))
    assert quality.decodings.max() > 1
    assert quality.symbols.min() < MOST


def test_each_decoding_is_charged_and_each_receiver_pays_for_its_own_listening() -> None:
    ran = result()
    quality, transfers = received(ran), ran.table("transfers").to_pandas()
    work = ran.table("computations").to_pandas()
    work = work[work.kind == "decoding"].groupby(["round", "user"])
    assert work.size().tolist() == quality.decodings.tolist()
    symbols = transfers[transfers.kind == "symbols"].groupby(["round", "user"])
    assert symbols.size().tolist() == quality.decodings.tolist()
    assert (symbols.bits.sum() / IMAGES).tolist() == pytest.approx(quality.symbols.tolist())
    networks = 2 * IMAGES * (3 * 16 + 16 * (2 * 24 + 16) + (24 + 16) * 16 + 16 * 64)
    last = quality.symbols.xs(0, level="round")
    each = 6 * EDGE_OPERATIONS["sum_product"] + SYNDROME_OPERATIONS
    edges = [ceil(round(count) * Code().mean_degree(24)) for count in last]
    assert work.flops.last().xs(0, level="round").tolist() == [IMAGES * count * each + networks for count in edges]
    energy = ran.table("energy").to_pandas().set_index(["round", "user"]).receive_j
    side = transfers[transfers.kind == "side_information"].set_index(["round", "user"]).airtime_s
    expected = 0.2 * (IMAGES * quality.symbols / 2e6 + side)
    assert energy.tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def air_symbols(ran: Any) -> list[float]:
    """Symbols on the air in each round: what the stations have sent, without the side information."""
    return (ran.table("rounds").to_pandas().downlink_bits - IMAGES * 3 * 6).tolist()


@pytest.mark.parametrize("stop", ["planned", "decoded"])
def test_a_stream_that_ends_with_acknowledgements_is_on_the_air_until_the_last_has_arrived(stop: str) -> None:
    """Symbols that are sent while devices decode and acknowledge are airtime; nobody pays for hearing them."""
    listening = {"listening": {**SCHEME["listening"], "stop": stop}}
    with_last, acknowledged = (
        result({**listening, "stream_ends": ends}) for ends in ("with_receptions", "with_acknowledgements")
    )
    transfers = acknowledged.table("transfers").to_pandas().groupby(["round", "kind"])
    begin_s = transfers.start_s.min().xs("symbols", level="kind")
    end_s = transfers.end_s.max().xs("acknowledgement", level="kind")
    assert air_symbols(acknowledged) == pytest.approx((2e6 * (end_s - begin_s)).tolist(), rel=1e-9)
    assert all(more > fewer for more, fewer in zip(air_symbols(acknowledged), air_symbols(with_last), strict=True))
    assert received(acknowledged).equals(received(with_last))
    rounds = (ran.table("rounds").to_pandas() for ran in (acknowledged, with_last))
    energy, latency = zip(*((each.energy_j.tolist(), each.latency_s.tolist()) for each in rounds), strict=True)
    assert energy[0] == pytest.approx(energy[1], rel=1e-9)
    assert latency[0] == pytest.approx(latency[1], rel=1e-9)


def test_a_stream_that_ends_at_a_deadline_needs_no_acknowledgements() -> None:
    """It is on the air until then, though all have decoded; who has not decodes what it has."""
    for deadline_s, all_planned in ((0.4, True), (2e-5, False)):
        scheme = {"stream_ends": "at_deadline", "deadline_s": deadline_s}
        ran = result({**scheme, "listening": {"symbols": 1.4, "iterations": 6}})
        assert air_symbols(ran) == pytest.approx([2e6 * deadline_s] * 3, rel=1e-9)
        transfers = ran.table("transfers").to_pandas()
        begin_s = transfers[transfers.kind == "symbols"].groupby("round").start_s.min()
        assert (ran.table("rounds").to_pandas().end_s >= begin_s + deadline_s - 1e-12).all()
        assert (transfers[transfers.kind == "symbols"].lost < 1e-6).all() == all_planned
    with pytest.raises(ScenarioError, match="at_deadline needs deadline_s"):
        result({"stream_ends": "at_deadline"})


def test_receivers_with_a_deadline_or_little_energy_stop_undecoded() -> None:
    for limit in ({"deadline_s": 2e-5}, {"max_energy_j": 4e-6}):
        quality = received(result({**limit, "listening": {**SCHEME["listening"], "syndrome": 1.0}}))
        assert quality.symbols.tolist() == pytest.approx([10] * 9)  # of four images: 40 symbols at 2e6 a second
        assert (quality.decodings <= 3).all()


def test_a_dry_run_has_all_decoded_at_once_and_says_so() -> None:
    ran = result(executor="dry")
    assert received(ran).decodings.tolist() == [1] * 9
    scenario = load(TINY, {"learning.scheme": SCHEME})
    assert scenario.learning is not None
    assert "soft syndromes that say at once" in str(scenario.learning.scheme.stand_in)


def test_receivers_that_listen_together_do_not_stop_by_themselves() -> None:
    with pytest.raises(ScenarioError, match="choose one of the two"):
        result({"listening": {"stop": "decoded", "together": True}})
