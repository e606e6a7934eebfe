"""NTRSCC: the surrogate of channel and decoder, training, rules of listening, and a run by hand."""

from math import ceil, floor
from typing import Any

import numpy as np
import pytest
import torch

from fakes import FakeHeard, FakeStreams
from learning.fountain.degrees import mean_degree
from learning.fountain.evolution import edges_per_input, evolve, mean_tanh, prior_mean
from learning.fountain.information import binary_input_capacity
from learning.fountain.propagation import Propagation, decoding_operations
from learning.fountain.surrogate import surrogate_bits
from learning.jscc import operators
from learning.jscc.autoencoder import Transforms
from learning.jscc.code import Code
from learning.jscc.images import psnr_db, unit
from learning.jscc.listening import Listening, symbol_snr
from learning.jscc.training import TRAINED, Training, draws_of, surrogate_loss, train
from learning.store import Store
from runs import TINY, hashes
from scenarios import load, simulate

SMALL = Transforms(bits=24, hyper=3, width=16)
STREAMS = FakeStreams(1)
SPAN = (0.0, 1.0)
SCHEME: dict[str, Any] = {
    "name": "ntrscc",
    "images": 4,
    "transforms": {"bits": 24, "hyper": 3, "width": 16},
    "listening": {"symbols": 1.4, "iterations": 6},
    "training": {"steps": [3, 2, 2], "batch_size": 4},
}


def images(count: int, seed: int = 0) -> torch.Tensor:
    """Images of 8 x 8 numbers in [0, 1] with two degrees of freedom."""
    u = torch.rand((count, 2, 1, 1), generator=torch.Generator().manual_seed(seed))
    ramp = torch.linspace(0, 1, 8)
    return (u[:, :1] * ramp + u[:, 1:] * ramp[:, None]).clamp(0, 1)


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_surrogate_bits_have_the_mean_that_density_evolution_gives():
    n, k, code = 40, 500, Code(max_degree=20)
    p, signs = torch.full((n, k), 0.2), torch.ones(n, k)
    noise = torch.randn((n, k), generator=torch.Generator().manual_seed(0))
    snr, symbols = torch.full((n,), 2.0), torch.full((n,), 0.9)
    soft = surrogate_bits(signs, p, torch.ones(n, k), code.degrees(k, {}), symbols, snr, 3, noise)
    edges = edges_per_input(0.9, code.degrees(k, {}), torch.ones(1).double())
    prior = prior_mean(torch.tensor([0.2]).double())
    mean = float(mean_tanh(prior + edges * evolve(code.degrees(k, {}), edges, 2.0, 3, prior, max_edges=30)[-1]))
    assert float(soft.mean()) == pytest.approx(mean, abs=4 * float(soft.std()) / (n * k) ** 0.5)
    opposite = surrogate_bits(-signs, p, torch.ones(n, k), code.degrees(k, {}), symbols, snr, 3, -noise)
    assert torch.allclose(opposite, -soft, atol=1e-6)


def test_gradients_pass_through_the_surrogate():
    weights = torch.ones(2, 24, requires_grad=True)
    p = torch.full((2, 24), 0.3).requires_grad_()
    signs = torch.ones(2, 24, requires_grad=True)
    symbols = torch.full((2,), 1.0).requires_grad_()
    arguments = torch.ones(2), 3, torch.zeros(2, 24)
    surrogate_bits(signs, p, weights, Code().degrees(24, {}), symbols, *arguments).mean().backward()
    for tensor in (weights, p, signs, symbols):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    assert symbols.grad is not None
    assert (symbols.grad > 0).all()  # more symbols bring soft bits nearer to the bits, which are all 0


def test_every_stage_changes_its_networks_alone_and_the_first_reduces_the_loss():
    code, training = Code(max_symbols=2), Training(batch_size=16)
    parameters: dict[str, torch.Tensor] = SMALL.initial(STREAMS, 64, torch.float32)
    x, steps = images(64), 40
    fixed = images(32, 9), uniform(32, draws_of(SMALL), seed=7)
    before = float(surrogate_loss(SMALL, code, training, parameters, *fixed))
    for stage, names in TRAINED.items():
        count, symbols = (steps, 0) if stage == "transforms" else (2, code.symbols(24) if stage == "synthesis" else 0)
        chosen = torch.randint(64, (count, 16), generator=torch.Generator().manual_seed(1))
        state = training.optimiser.init({n: v for n, v in parameters.items() if n.split(".")[0] in names})
        u = uniform(count, 16, draws_of(SMALL)), uniform(count, symbols, 26).double(), uniform(count, 16, symbols)
        after, _ = train(SMALL, code, training, stage, SPAN, parameters, state, x[chosen], *u)
        changed = {n.split(".")[0] for n in parameters if not torch.equal(after[n], parameters[n])}
        assert changed <= set(names)
        assert changed
        parameters = after
    assert float(surrogate_loss(SMALL, code, training, parameters, *fixed)) < 0.8 * before


def test_without_exponent_and_importance_the_code_is_plain_and_without_side_information_nothing_is_known():
    parameters = SMALL.initial(STREAMS, 64, torch.float32)
    latents = SMALL.analyse(parameters, images(3), 10 * uniform(3, 3))  # hyper-latents of 0 would give priors of 0
    assert (latents.priors != 0).all()
    assert (Code(exponent=0, importance=False).log_weights(latents) == 0).all()
    assert (Code().log_weights(latents) != 0).any()
    assert (Code(side_information=False).priors(latents) == 0).all()
    assert torch.equal(Code().priors(latents), latents.priors)


def test_hyper_latents_are_integers_whose_code_lengths_are_those_of_a_density():
    parameters = SMALL.initial(STREAMS, 64, torch.float64)
    hyper = SMALL.analyse(parameters, images(5).double()).hyper
    assert torch.equal(hyper, hyper.round())
    every = torch.arange(-60, 61).double()[:, None].expand(-1, 3)
    each = 2 ** -SMALL.hyper_bits(parameters, every)
    of_zero = 1 / (1 + np.exp(-0.5)) - 1 / (1 + np.exp(0.5))
    assert float(each[60]) == pytest.approx(of_zero**3)
    assert float((each ** (1 / 3)).sum()) == pytest.approx(1, abs=1e-2)  # all integers


def test_a_receiver_at_high_snr_recovers_the_bits_and_one_that_hears_nothing_has_the_priors():
    parameters, code = SMALL.initial(STREAMS, 64, torch.float32), Code(max_symbols=6)
    x = images(6)
    bits, hyper, unknown = operators.analyse(SMALL, parameters, x, SPAN)
    assert ((unknown > 0) & (unknown <= 24)).all()
    m = code.symbols(24)
    draws = uniform(m, 26).double(), uniform(6, m, seed=2)
    latents = SMALL.analyse(parameters, x)
    clear, _ = operators.receive(SMALL, code, parameters, hyper, bits, *draws, torch.full((m,), 1e3), m, 30, False)
    exact = SMALL.synthesise(parameters, 1.0 - 2 * bits, latents.features)
    assert torch.allclose(clear, exact, atol=1e-3)
    silent, _ = operators.receive(SMALL, code, parameters, hyper, bits, *draws, torch.zeros(m), 0, 30, False)
    assert torch.allclose(silent, SMALL.synthesise(parameters, torch.tanh(latents.priors / 2), latents.features))


def test_psnr_is_that_of_the_mean_squared_error():
    x = torch.tensor([[[[0.0, 2.0], [1.0, 1.0]]]])
    received = torch.tensor([[0.1, 0.9, 0.5, 0.5]])
    assert psnr_db(x, received, (0.0, 2.0)).tolist() == pytest.approx([-10 * np.log10(0.02 / 4)])
    assert unit(x, (0.0, 2.0)).flatten().tolist() == [0, 1, 0.5, 0.5]


@pytest.mark.parametrize(("snr", "unknown"), [(1.0, 20.0), (4.0, 50.0)])
def test_a_receiver_listens_to_a_multiple_of_what_an_ideal_code_needs(snr, unknown):
    capacity = float(binary_input_capacity(torch.tensor(snr).double()))
    assert Listening(symbols=1.4).symbols_of(unknown, snr, 1000) == ceil(1.4 * unknown / capacity)
    assert Listening().symbols_of(unknown, snr, 7) == 7
    assert Listening().symbols_of(0.0, snr, 7) == 1


def test_slow_receivers_take_fewer_iterations():
    """T = O / (n m dbar c_e), rounded down, from 1 to the maximum."""
    rule = Listening(iterations=20, decoding_s=0.01)
    each = 16 * decoding_operations(100, 6.0, 1)
    assert rule.iterations_of(100, 16, 6.0, Propagation(), 7.5 * each / 0.01) == 7
    assert rule.iterations_of(100, 16, 6.0, Propagation(), 0.1 * each) == 1
    assert rule.iterations_of(100, 16, 6.0, Propagation(), 1e15) == 20
    assert Listening(iterations=20).iterations_of(100, 16, 6.0, Propagation(), 1.0) == 20


def test_every_symbol_of_an_image_has_the_ratio_of_its_fading_block():
    """Symbols of three images take turns; the last, incomplete turn is not heard."""
    heard = [FakeHeard("s", 0, 7, 1.0), FakeHeard("s", 7, 7, 2.0)]
    assert symbol_snr(heard, 3, 6).tolist() == [1.0, 1.0, 1.0, 2.0, 0.0, 0.0]
    late = [FakeHeard("s", 6, 6, 3.0)]
    assert symbol_snr(late, 3, 6).tolist() == [0.0, 0.0, 3.0, 3.0, 0.0, 0.0]
    assert symbol_snr(heard, 3, 2).tolist() == [1.0, 1.0]
    assert symbol_snr([], 3, 2).tolist() == [0.0, 0.0]


def result(executor: str = "batched", **overrides: Any) -> Any:
    scenario = {"learning.scheme": SCHEME, "learning.executor": executor, "learning.stop": {"rounds": 2}}
    return simulate(load(TINY, {**scenario, **{name.replace("__", "."): each for name, each in overrides.items()}}))


def decoding_flops(symbols: int) -> int:
    """What a receiver is charged for four images that it decodes from so many symbols each in six iterations."""
    degree = float(mean_degree(Code().degrees(24, {})))
    networks = 2 * 4 * (3 * 16 + 16 * (2 * 24 + 16) + (24 + 16) * 16 + 16 * 64)
    return 4 * 6 * ceil(symbols * degree) * 25 + networks


def test_a_run_by_hand():
    """Hyper-latents at once to all, then symbols at the symbol rate, then the charged decoding of each receiver."""
    ran = result(network__channel__fading="none")
    transfers = ran.table("transfers").to_pandas()
    first = transfers[transfers["round"] == 0]
    side, symbols = (first[first.kind == kind].set_index("user") for kind in ("side_information", "symbols"))
    assert set(side.bits) == {4 * 3 * 6}
    assert side.end_s.nunique() == 1
    quality = ran.table("evaluations").to_pandas()
    quality = quality[quality["round"] == 0].pivot(index="user", columns="metric", values="value")
    planned = quality["symbols"]
    for user in range(4):
        assert symbols.bits[user] == 4 * planned[user] == pytest.approx(4 * round(planned[user]))
        assert symbols.end_s[user] - side.end_s[user] == pytest.approx(symbols.bits[user] / (2 * 1e6))
    work = ran.table("computations").to_pandas()
    work = work[(work["round"] == 0) & (work.kind == "decoding")].set_index("user")
    for user in range(4):
        assert work.flops[user] == decoding_flops(round(planned[user]))
    rounds = ran.table("rounds").to_pandas()
    assert rounds.downlink_bits[0] == pytest.approx(4 * 3 * 6 + symbols.bits.max())  # each symbol is sent once
    assert np.isfinite(quality["psnr_db"]).all()


def test_executors_agree_and_a_dry_run_has_a_stand_in():
    eager, batched = (result(executor).table("evaluations").to_pandas() for executor in ("eager", "batched"))
    assert eager.equals(batched)
    dry = result("dry", network__channel__fading="none").table("evaluations").to_pandas()
    assert dry[dry.metric == "psnr_db"].value.isna().all()
    symbols = dry[dry.metric == "symbols"].value.tolist()
    assert symbols == [ceil(1.4 * 12)] * 10  # of four users and their mean: far above 0 dB a symbol carries a bit


def test_together_all_listen_as_long_as_the_one_that_needs_most():
    scheme = {**SCHEME, "listening": {"symbols": 1.4, "iterations": 2, "together": True}}
    ran = result(learning__scheme=scheme).table("transfers").to_pandas()
    assert ran[ran.kind == "symbols"].groupby("round").bits.nunique().max() == 1


def test_a_deadline_and_an_energy_budget_end_receptions():
    for limit in ({"deadline_s": 1e-5}, {"max_energy_j": 2e-7}):
        ran = result(learning__scheme={**SCHEME, **limit}).table("transfers").to_pandas()
        assert (ran[ran.kind == "symbols"].lost > 0).all()


def test_a_receiver_whose_reception_ends_early_decodes_what_it_has_heard():
    ran = result(network__channel__fading="none", learning__scheme={**SCHEME, "deadline_s": 1e-5})
    heard = floor(1e-5 * 2 * 1e6 / 4 + 1e-6)  # symbols of each image before the deadline
    assert heard < ceil(1.4 * 12)
    work = ran.table("computations").to_pandas()
    assert set(work[work.kind == "decoding"].flops) == {decoding_flops(heard)}


def test_other_devices_change_the_clock_and_no_torch_operation_runs_again(tmp_path):
    """Nor do tables depend on where results come from."""
    other = {"compute.devices.flops_per_s": 5e7, "compute.servers.flops_per_s": 1e8, "energy.idle_power_w": 0.2}

    def ran(store: Store | None, **changed: Any) -> Any:
        settings = {"learning.scheme": SCHEME, "learning.stop": {"rounds": 2}, **changed}
        return simulate(load(TINY, settings), store=store)

    store = Store(tmp_path)
    first, again, moved = ran(store), ran(store), ran(store, **other)
    store.close()
    assert first.operations["run"] > 0 == again.operations["run"] == moved.operations["run"]
    assert hashes(again) == hashes(first) == hashes(ran(None))
    assert hashes(moved) == hashes(ran(None, **other)) != hashes(first)
