"""NTRSCC: repeated bits, trained degrees, a stream for each receiver, and a thousand receivers of one stream."""

from math import ceil
from typing import Any

import pytest
import torch
from torch import Tensor

from fakes import FakeStreams
from learning.fountain.degrees import capped, mean_degree, robust_soliton
from learning.fountain.information import binary_input_capacity
from learning.jscc import operators
from learning.jscc.autoencoder import Latents, Transforms
from learning.jscc.code import Code
from learning.jscc.training import Training, draws_of, surrogate_loss, train, trains
from runs import TINY
from scenarios import load, simulate

BITS, IMAGES = 24, 4
SMALL = Transforms(bits=BITS, hyper=3, width=16)
SCHEME: dict[str, Any] = {
    "name": "ntrscc",
    "images": IMAGES,
    "transforms": {"bits": BITS, "hyper": 3, "width": 16},
    "listening": {"symbols": 1.4, "iterations": 6},
    "training": {"steps": [3, 2, 2], "batch_size": 4},
}
NETWORKS = 2 * IMAGES * (3 * 16 + 16 * (2 * BITS + 16) + (BITS + 16) * 16 + 16 * 64)
"""FLOPs of a receiver's transforms."""


def result(scheme: dict[str, Any], executor: str = "eager", **changed: Any) -> Any:
    settings = {"learning.executor": executor, "learning.stop": {"rounds": 1}, "network.channel.fading": "none"}
    return simulate(load(TINY, {**settings, "learning.scheme": {**SCHEME, **scheme}, **changed}))


def symbols_of(ran: Any) -> Any:
    """Rows of the stream's receptions by user."""
    transfers = ran.table("transfers").to_pandas()
    return transfers[transfers.kind == "symbols"].set_index("user")


def latents_of(parameters: dict[str, Tensor], images: Tensor) -> Latents:
    """Latents with hyper-latents that differ from 0, as are then their priors."""
    return SMALL.analyse(parameters, images, 10 * torch.rand((len(images), 3), dtype=images.dtype))


def test_repeated_bits_have_the_sum_of_what_is_known_of_each() -> None:
    """L_i = Lpri_i + the channel's LLRs of symbols i, i + k, i + 2k, ..., whatever the draws are."""
    torch.manual_seed(0)
    code, n, m = Code(distribution="repetition"), 5, 61
    latents = latents_of(SMALL.initial(FakeStreams(1), 64, torch.float64), torch.rand((n, 1, 8, 8)).double())
    bits = (torch.rand((n, BITS)) < 0.5).long()
    noise, snr = torch.randn((n, m)).double(), torch.rand(m).double() * (torch.arange(m) > 6)
    for u in (torch.rand((m, BITS + 2)).double(), torch.zeros((m, BITS + 2)).double()):
        received = code.transmit(latents, code.degrees(BITS, {}), bits, u, noise, snr, 1)
        for i in range(BITS):
            expected = latents.priors[:, i].clone()
            for j in range(i, m, BITS):
                expected += 2 * snr[j] * (1 - 2 * bits[:, i]) + 2 * snr[j].sqrt() * noise[:, j]
            assert received.llrs[:, i].tolist() == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-9)
    assert code.mean_degree(BITS) == 1
    assert (code.log_weights(latents) == 0).all()


def test_degrees_are_the_robust_soliton_before_they_are_trained() -> None:
    soliton = capped(robust_soliton(BITS), 30)
    trained = Code(distribution="trained")
    before = trained.initial(BITS, torch.float64)
    torch.testing.assert_close(trained.degrees(BITS, before), soliton)
    assert trained.mean_degree(BITS) == pytest.approx(float(mean_degree(soliton)))
    assert Code().initial(BITS, torch.float64) == {}
    more = {"degrees.logits": before["degrees.logits"] + torch.eye(len(soliton))[1]}
    odds = trained.degrees(BITS, more) / soliton
    assert float(odds[1] / odds[0]) == pytest.approx(torch.e)


@pytest.mark.parametrize(("weight", "way"), [(0.0, 0), (0.1, -1)])
def test_selection_trains_the_degrees_and_costly_work_makes_them_small(weight: float, way: int) -> None:
    """Without a price of work they change as the images demand; the other stages leave them alone."""
    code, training = Code(distribution="trained", max_symbols=2), Training(batch_size=8, complexity_weight=weight)
    streams = FakeStreams(1)
    given = SMALL.initial(streams, 64, torch.float32) | code.initial(BITS, torch.float32)
    torch.manual_seed(0)
    images = torch.rand((30, 8, 1, 8, 8))
    for stage, steps, symbols in (("transforms", 2, 0), ("selection", 30, 0), ("synthesis", 2, code.symbols(BITS))):
        names = {"transforms": "analysis", "selection": "degrees", "synthesis": "synthesis"}
        state = training.optimiser.init({n: v for n, v in given.items() if trains(stage, n)})
        u = torch.rand((steps, 8, draws_of(SMALL))), torch.rand((steps, symbols, BITS + 2)).double()
        noise = torch.rand((steps, 8, symbols))
        after, _ = train(SMALL, code, training, stage, (0.0, 1.0), given, state, images[:steps], *u, noise)  # type: ignore[arg-type]
        changed = {name.split(".")[0] for name in given if not torch.equal(given[name], after[name])}
        assert ("degrees" in changed) == (stage == "selection")
        assert names[stage] in changed
        if stage == "selection":
            degree = float(mean_degree(code.degrees(BITS, after)))
            assert (degree - code.mean_degree(BITS)) * way >= 0
            assert abs(degree - code.mean_degree(BITS)) > 1e-3
            if way:
                fixed = images[0], torch.rand((8, draws_of(SMALL)))
                assert surrogate_loss(SMALL, code, training, after, *fixed) < surrogate_loss(
                    SMALL, code, training, given, *fixed
                )


def test_receivers_are_charged_for_the_edges_of_trained_degrees() -> None:
    """Where work is dear the mean degree becomes small, of all receivers alike, and their work with it."""
    optimiser = {"name": "adam", "learning_rate": 0.1}
    training = {"steps": [1, 16, 0], "batch_size": 4, "complexity_weight": 1.0, "optimiser": optimiser}
    ran = result({"code": {"distribution": "trained"}, "training": training})
    work = ran.table("computations").to_pandas()
    work = work[work.kind == "decoding"].set_index("user").flops
    edges = (work - NETWORKS) / (IMAGES * 6 * 25)
    heard = symbols_of(ran).bits / IMAGES
    assert (edges % 1 == 0).all()
    low, high = ((edges - 1) / heard).max(), (edges / heard).min()
    assert low < high  # one mean degree, rounded up to edges by each
    assert 1 < high < 0.9 * Code().mean_degree(BITS)


def test_a_dry_run_has_the_degrees_before_training() -> None:
    ran = result({"code": {"distribution": "trained"}}, "dry")
    work = ran.table("computations").to_pandas()
    heard = ceil(1.4 * BITS / 2)  # high above 0 dB a symbol carries a bit
    edges = ceil(heard * Code().mean_degree(BITS))
    assert work[work.kind == "decoding"].flops.tolist() == [IMAGES * 6 * edges * 25 + NETWORKS] * 4
    scenario = load(TINY, {"learning.scheme": {**SCHEME, "code": {"distribution": "trained"}}})
    assert scenario.learning is not None
    assert "the mean degree before training" in str(scenario.learning.scheme.stand_in)


@pytest.mark.parametrize(("side_information", "unknown"), [(True, 6), (False, BITS)])
def test_receivers_plan_for_the_bits_that_they_do_not_know(
    side_information: bool, unknown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hyper-latents tell three quarters of each bit here; without side information all is unknown."""
    monkeypatch.setattr(operators, "entropy_bits", lambda p: torch.full_like(p, 0.25))
    ran = result({"code": {"side_information": side_information}, "training": {"steps": [0, 0, 0]}})
    for _, row in symbols_of(ran).iterrows():
        capacity = float(binary_input_capacity(torch.tensor(10 ** (row.mean_snr_db / 10)).double()))
        assert row.bits == IMAGES * ceil(1.4 * unknown / capacity)


def test_unicast_sends_everything_to_each_receiver() -> None:
    """Side information one after another, then streams that share the band."""
    common, own = (result({"unicast": unicast}, "dry") for unicast in (False, True))
    side = own.table("transfers").to_pandas()
    side = side[side.kind == "side_information"]
    assert side.bits.tolist() == [IMAGES * 3 * 6] * 4
    assert side.end_s.nunique() == 4
    assert (symbols_of(own).bits == symbols_of(common).bits).all()
    sent = (ran.table("rounds").to_pandas().downlink_bits[0] for ran in (common, own))
    of_side = IMAGES * 3 * 6
    assert list(sent) == pytest.approx(
        [of_side + symbols_of(common).bits.max(), 4 * of_side + symbols_of(own).bits.sum()]
    )
    airtime_s = symbols_of(own).end_s.max() - side.end_s.max()
    assert airtime_s == pytest.approx(symbols_of(own).bits.sum() / 2e6)


def test_a_thousand_receivers_of_one_stream() -> None:
    """Each has rows of its own, and what is on the air is what the one that hears most has heard."""
    many = {"network.users.count": 1000, "learning.data.train_samples": 1200, "learning.partition": {"name": "iid"}}
    ran = result({}, "dry", **many)
    transfers = ran.table("transfers").to_pandas()
    assert transfers.groupby("kind").user.nunique().to_dict() == dict.fromkeys(
        ["side_information", "symbols", "acknowledgement"], 1000
    )
    sent = IMAGES * 3 * 6 + symbols_of(ran).bits.max()
    assert ran.table("rounds").to_pandas().downlink_bits.tolist() == pytest.approx([sent])
    quality = ran.table("evaluations").to_pandas()
    symbols = quality[(quality.metric == "symbols") & quality.user.notna()].set_index("user").value
    assert len(symbols) == 1000
    assert (IMAGES * symbols - symbols_of(ran).bits).abs().max() < 1e-6
    work = ran.table("computations").to_pandas()
    assert work[work.kind == "decoding"].user.nunique() == 1000
