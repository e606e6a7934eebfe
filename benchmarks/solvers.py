"""Wall time of the controllers' solvers relative to the allowed time: rounds of 50 users, and placements of experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.timing import best_s
from learning.control.cuts import ConvergenceBound, CutChoice, CutProblem, adapt
from learning.control.cuts import alternating as cuts_and_batches
from learning.control.lengths import LengthProblem, PowerLaw, ServerTime, coupled
from learning.control.lengths import alternating as published_lengths
from learning.control.placement import Activations, PlacementProblem, accelerated, auto, greedy
from learning.control.placement.convolution import divide_and_conquer, smawk, where_concave
from learning.control.placement.decomposition import decomposition
from learning.control.placement.knapsack import by_convolution
from learning.control.placement.profiles import chained
from learning.control.precision import PrecisionProblem, block_descent, joint_descent, matched_descent
from learning.control.precision.blocks import with_best_power
from learning.control.tokens import TokenProblem, by_latency
from learning.control.tokens import alternating as published_tokens

USERS, ALLOWED_S = 50, 1.0
SERVERS, LAYERS, EXPERTS, ALLOWED_PLACEMENT_S = 10, 32, 64, 10.0
NOISE_W_PER_HZ = 10 ** (-174 / 10) / 1000


def main() -> None:
    print(f"\nsolvers, {USERS} users: wall time over the {ALLOWED_S:g} s that is allowed")
    for name, seconds in best_s(solvers()).items():
        print(f"  {name:<40} {seconds / ALLOWED_S:6.3f}")
    size = f"{SERVERS} servers, {LAYERS} layers, {EXPERTS} experts"
    print(f"\nplacements, {size}: wall time over the {ALLOWED_PLACEMENT_S:g} s that are allowed")
    for name, seconds in best_s(placements(), repeats=1).items():
        print(f"  {name:<40} {seconds / ALLOWED_PLACEMENT_S:6.3f}")


def solvers() -> dict[str, Callable[[], object]]:
    """Solvers that run once per round, by name, each with a random problem."""
    cuts, precision, tokens, lengths = cut_problem(), precision_problem(), token_problem(), length_problem()
    plain = CutChoice(np.full(USERS, 16), np.full(USERS, 2))
    matched = partial(matched_descent, subchannels=2 * USERS, power=with_best_power)
    return {
        "hasfl: cuts and mini-batches": lambda: cuts_and_batches(cuts),
        "adaptsfl: cut and interval": lambda: adapt(cuts, plain),
        "sflam: bits, power and band at once": lambda: joint_descent(precision),
        "sflam: published blocks": lambda: block_descent(precision),
        "sflam: a hundred subchannels": lambda: matched(precision),
        "st_sflora: published alternation": lambda: published_tokens(tokens),
        "st_sflora: search over the latency": lambda: by_latency(tokens),
        "token_fusion: published alternation": lambda: published_lengths(lengths),
        "token_fusion: coupled blocks": lambda: coupled(lengths),
    }


def placements() -> dict[str, Callable[[], object]]:
    """What is solved when experts are placed, by name; with K = 1, convolutions of concave profiles only."""
    single, pair = placement_problem(1), placement_problem(2)
    by_name = {"divide and conquer": divide_and_conquer, "SMAWK": smawk}
    candidates: dict[str, Callable[[], object]] = {
        "K = 1: greedy": lambda: greedy(single),
        "K = 1: accelerated": lambda: accelerated(single),
        "K = 2: greedy": lambda: greedy(pair),
        "K = 2: accelerated": lambda: accelerated(pair),
        "K = 2: auto": lambda: auto(pair),
    }
    for name, method in by_name.items():
        knapsack = partial(by_convolution, convolve=where_concave(method))
        candidates[f"K = 1: accelerated, {name}"] = partial(decomposition, single, chained, knapsack)
    return candidates


def placement_problem(top_k: int) -> PlacementProblem:
    """Twenty users of skewed interests, 200 tokens each; all servers together store every expert once."""
    rng, users, tokens = np.random.default_rng(4), 20, 200
    user, layer = np.indices((users, LAYERS)).reshape(2, -1).repeat(tokens, axis=1)
    scores = np.log(rng.dirichlet(np.full(EXPERTS, 0.3), users * LAYERS) + 1e-9).repeat(tokens, axis=0)
    chosen = (scores + rng.gumbel(size=scores.shape)).argsort(axis=1)[:, -top_k:]
    return PlacementProblem(
        size_bytes=np.full((LAYERS, EXPERTS), 1),
        storage_bytes=np.full(SERVERS, LAYERS * EXPERTS // SERVERS + 1),
        server_s=rng.uniform(0.002, 0.02, (users, SERVERS)),
        cloud_s=np.full(users, 0.06),
        device_s=np.full(users, 0.1),
        held=np.zeros((users, LAYERS, EXPERTS), dtype=np.bool_),
        activations=Activations.counted(user, layer, chosen),
    )


def cut_problem() -> CutProblem:
    """A problem with six possible cuts, up to 64 samples, and device speeds that differ by a factor of up to 30."""
    rng = np.random.default_rng(9)
    flops, bits, activations, variances = rng.uniform(0.5, 2, (4, 7))
    bound = ConvergenceBound(1.0, 0.1, variances, rng.uniform(0.01, 0.05, 7), 1.0, 3)
    target = 1.5 * (bound.noise(USERS) * USERS / 32 + bound.drift[2])
    speed, uplink, downlink = 10 ** rng.uniform(-1, 0.5, USERS), rng.uniform(1, 8, USERS), rng.uniform(4, 30, USERS)
    done = np.cumsum(flops)[:6]
    return CutProblem(
        bound=replace(bound, target=float(target)),
        before_s=done / speed[:, None] + activations[:6] / uplink[:, None],
        server_s=np.tile((flops.sum() - done) * 3 / 50, (USERS, 1)),
        after_s=activations[:6] / downlink[:, None] + 2 * done / speed[:, None],
        device_bits=np.cumsum(bits)[:6],
        upload_bps=uplink,
        download_bps=downlink,
        exchange_bps=20.0,
        max_samples=np.full((USERS, 6), 64),
    )


def precision_problem() -> PrecisionProblem:
    """A problem of about a megabit per user over 100 MHz, at 20 to 300 m with Rayleigh fading, and the errors of six
    bits allowed."""
    rng = np.random.default_rng(7)
    weight = rng.uniform(0.5, 2, USERS)
    return PrecisionProblem(
        gain_hz_per_w=rng.uniform(20, 300, USERS) ** -3.5 * rng.exponential(size=USERS) / NOISE_W_PER_HZ,
        fixed_s=rng.uniform(0.01, 0.2, USERS),
        elements=rng.uniform(5e4, 2e5, USERS),
        error_weight=weight,
        error_budget=float(weight.sum() / (2**6 - 1) ** 2) * (1 + 1e-9),
        total_hz=1e8,
        max_power_w=0.2,
    )


def token_problem() -> TokenProblem:
    """A problem with 196 patches, 50 MHz and 0.8 J, as in the paper, at 5 to 200 m, where all users can participate."""
    rng = np.random.default_rng(2)
    attention = rng.dirichlet(np.full(196, 0.5), size=(USERS, 8))
    return TokenProblem(
        importance=(-np.sort(-attention, axis=2)).sum(axis=1),
        gain_hz_per_w=rng.uniform(5, 200, USERS) ** -2.5 * rng.uniform(0.5, 2, USERS) / NOISE_W_PER_HZ,
        time_left_s=rng.uniform(5, 20, USERS),
        token_bits=1_572_864.0 * 64 / 196,
        total_hz=5e7,
        max_power_w=0.2,
        max_energy_j=0.8,
        min_tokens=1,
    )


def length_problem() -> LengthProblem:
    """A problem with 17 tokens of 64 features in 8 bits, mini-batches of 32, 10 MHz and 3 W, at 20 to 300 m."""
    rng, tokens = np.random.default_rng(5), np.arange(18)
    laws = [PowerLaw(*rng.uniform([0.05, 0.3], [1.0, 2.0])) for _ in range(USERS)]
    problem = LengthProblem(
        bits=np.tile(8.0 * 32 * 64 * tokens, (USERS, 1)),
        device_s=np.tile(rng.uniform(0.001, 0.02, (USERS, 1)), (1, 18)),
        loss=np.array([[np.inf, *law.at(tokens[1:])] for law in laws]),
        gain_hz_per_w=rng.uniform(20, 300, USERS) ** -3.5 * rng.exponential(size=USERS) / NOISE_W_PER_HZ,
        max_power_w=np.full(USERS, 0.3),
        total_hz=1e7,
        server=ServerTime(np.zeros(USERS, dtype=np.int64), 0.002, 1e-5, 1e-7),
        total_power_w=3.0,
        common_loss=0.3,
    )
    everything = problem.equal(problem.longest)
    loss_unit = float(problem.validation_loss(problem.longest))
    return replace(problem, latency_unit_s=problem.latency_s(everything), loss_unit=loss_unit)
