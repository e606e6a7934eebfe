"""Tokens, bandwidth and power of ST-SFLora: blocks and solvers against brute force, limits and monotonicity."""

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from learning.control.rate import Floats, rate_bps
from learning.control.tokens import TokenProblem, admissible, alternating, by_latency, exhaustive
from learning.control.tokens.alternating import (
    ascent,
    first,
    with_best_bandwidth,
    with_best_power,
    with_best_tokens,
)

NOISE_W_PER_HZ = 10 ** (-174 / 10 - 3)


def instance(seed: int, users: int, patches: int, energy_j: float = 0.8, **changed: Any) -> TokenProblem:
    """A cell as in the paper, its energy scaled with the size of a token: 5 to 500 m, exponent 2.5, Rayleigh."""
    rng = np.random.default_rng(seed)
    gain = rng.uniform(5, 500, users) ** -2.5 * rng.exponential(size=users) / NOISE_W_PER_HZ
    attention = rng.dirichlet(np.full(patches, 0.5), size=(users, 8))
    importance = -np.sort(-attention, axis=2)
    settings: dict[str, Any] = {
        "importance": importance.sum(axis=1),
        "gain_hz_per_w": gain,
        "time_left_s": rng.uniform(5, 20, users),
        "token_bits": 1_572_864.0 * 64 / patches,
        "total_hz": 1e7,
        "max_power_w": 0.2,
        "max_energy_j": energy_j,
        "min_tokens": 1,
    }
    return TokenProblem(**{**settings, **changed})


def feasible(seed: int, users: int, patches: int, energy_j: float = 0.8, **changed: Any) -> TokenProblem:
    problem = instance(seed, users, patches, energy_j, **changed)
    return problem.of(admissible(problem))


def test_importance_is_the_top_mass() -> None:
    """f(K) is the attention of each sample's own K best patches, summed over the batch; all of it is the batch."""
    attention = np.random.default_rng(3).dirichlet(np.ones(9), size=5)
    ranked = -np.sort(-attention, axis=1)
    mass = instance(0, 1, 9, importance=ranked.sum(axis=0)[None]).mass[0]
    for count in range(10):
        direct = sum(float(np.sort(sample)[9 - count :].sum()) for sample in attention)
        assert mass[count] == pytest.approx(direct, rel=1e-12)
    assert mass[9] == pytest.approx(5)
    assert (np.diff(mass, 2) <= 1e-12).all()


UNEQUAL: dict[str, Any] = {
    "token_bits": 1_572_864.0 * np.array([2.0, 9.0, 16.0]),
    "overhead_bits": np.array([1e5, 3e6, 0.0]),
}
"""Mini-batches of 2, 9 and 16 samples: bits of a token, and beside them, of three users."""


def test_some_of_the_users_keep_their_own_bits() -> None:
    problem = instance(0, 3, 7, **UNEQUAL)
    some = problem.of(np.array([2, 0]))
    tokens = np.array([1, 4, 6])
    assert some.bits(tokens[[2, 0]]).tolist() == problem.bits(tokens)[[2, 0]].tolist()
    assert problem.bits(tokens).tolist() == [1_572_864 * 2 * 3 + 1e5, 1_572_864 * 9 * 6 + 3e6, 1_572_864 * 16 * 8]


@pytest.mark.parametrize("seed", range(8))
def test_with_unequal_mini_batches_solvers_find_the_best_of_all_combinations(seed: int) -> None:
    """A search over the latency; and for a given band and power, the published step."""
    problem = instance(seed, 3, 6, 1.5, time_left_s=np.full(3, 60.0), **UNEQUAL)
    assert len(admissible(problem)) == 3
    best = problem.efficiency(exhaustive(problem))
    assert problem.efficiency(by_latency(problem)) == pytest.approx(best, rel=1e-9)
    start = with_best_power(problem, first(problem, 1))
    combinations = [start._replace(tokens=np.array(each)) for each in product(range(1, 7), repeat=3)]
    fitting = max(problem.efficiency(each) for each in combinations if problem.excess(each) <= 1e-9)
    assert problem.efficiency(with_best_tokens(problem, start)) == pytest.approx(fitting, rel=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_each_block_is_solved_exactly(seed: int) -> None:
    problem = feasible(seed, 3, 7, 0.3)
    start = first(problem, 3)
    assert problem.excess(start) < 1e-9
    powered = with_best_power(problem, start)
    for user in range(problem.users):  # a little more power breaks a limit
        more = powered.power_w.copy()
        more[user] *= 1.001
        assert problem.excess(powered._replace(power_w=more)) > 1e-6
    shared = with_best_bandwidth(problem, powered)
    assert shared.bandwidth_hz.sum() == pytest.approx(problem.total_hz)
    assert problem.excess(shared) < 1e-9
    seconds = problem.seconds(shared)
    free = (seconds < problem.time_left_s * 0.999) & (seconds * shared.power_w < problem.max_energy_j * 0.999)
    if free.all():  # no other limit: all are done at once
        assert np.ptp(seconds) < 1e-6 * seconds.max()
    chosen = with_best_tokens(problem, shared)
    brute = max(
        problem.efficiency(candidate)
        for tokens in product(range(1, 8), repeat=problem.users)
        if problem.excess(candidate := shared._replace(tokens=np.array(tokens))) < 1e-9
    )
    assert problem.efficiency(chosen) == pytest.approx(brute, rel=1e-9)


@pytest.mark.parametrize("hurried", [False, True])
def test_the_token_step_is_exact_on_two_hundred_instances(hurried: bool) -> None:
    """Three users of seven patches: all 343 choices at once, rates, energies and times written out again.

    Those that are hurried have hardly more time than the tokens take with which they begin.
    """
    tokens = np.array(list(product(range(1, 8), repeat=3)))
    compared = 0
    for seed in range(250):
        problem = feasible(seed, 3, 7, 0.3)
        if problem.users < 3:
            continue
        start = with_best_power(problem, first(problem, 3))
        if hurried:
            factor = np.random.default_rng(seed).uniform(1.01, 1.6, 3)
            problem = replace(problem, time_left_s=factor * problem.seconds(start))
        width, power, gain = start.bandwidth_hz, start.power_w, problem.gain_hz_per_w
        seconds = problem.token_bits * (tokens + 2) / (width * np.log2(1 + power * gain / width))
        allowed = ((seconds <= problem.time_left_s) & (seconds * power <= problem.max_energy_j * (1 + 1e-9))).all(
            axis=1
        )
        mass = np.cumsum(problem.importance, axis=1)[np.arange(3), tokens - 1].sum(axis=1)
        best = float((mass / seconds.max(axis=1))[allowed].max())
        assert problem.efficiency(with_best_tokens(problem, start)) == pytest.approx(best, rel=1e-9)
        compared += 1
    assert compared >= 200


def test_more_energy_is_never_less_power() -> None:
    """And never less than what being done in time takes (Eq. 27)."""
    for seed in range(5):
        powers = []
        for energy_j in (0.1, 0.2, 0.4, 0.8):
            problem = instance(
                seed, 3, 7, energy_j, gain_hz_per_w=np.geomspace(1e9, 1e12, 3), time_left_s=np.full(3, 60.0)
            )
            start = first(problem, 3)
            powers.append(with_best_power(problem, start).power_w)
            width = start.bandwidth_hz
            least = (2 ** (problem.bits(start.tokens) / 60 / width) - 1) * width / problem.gain_hz_per_w
            assert (powers[-1] >= least).all()
        assert (np.diff(powers, axis=0) >= 0).all()
        assert (powers[0] < powers[-1]).any()


@pytest.mark.parametrize("energy_j", [0.8, 0.05])
@pytest.mark.parametrize("seed", range(8))
def test_the_alternation_climbs(seed: int, energy_j: float) -> None:
    problem = feasible(seed, 4, 24, energy_j)
    for start in (1, 12, 24):
        path = ascent(problem, first(problem, start))
        values = [problem.efficiency(allocation) for allocation in path]
        assert all(later >= earlier * (1 - 1e-9) for earlier, later in pairwise(values))
        assert max(problem.excess(allocation) for allocation in path) < 1e-9


@pytest.mark.parametrize(("energy_j", "mean", "worst"), [(0.8, 0.98, 0.92), (0.05, 0.85, 0.65)])
def test_solvers_against_all_combinations(energy_j: float, mean: float, worst: float) -> None:
    """The search over latencies finds the optimum; the alternation gets stuck where energy is tight.

    Measured on 60 such instances each: the search always had the optimum. The alternation reached 99.1 % of it on
    average and 94.5 % at worst where energy is loose, 93.4 % and 73.5 % where it is tight.
    """
    published = []
    for seed in range(16):
        problem = feasible(seed, 3, 10, energy_j)
        optimum = problem.efficiency(exhaustive(problem))
        for solver in (by_latency, alternating):
            found = solver(problem)
            assert problem.excess(found) < 1e-9
            ratio = problem.efficiency(found) / optimum
            assert ratio <= 1 + 1e-6
            if solver is by_latency:
                assert ratio >= 0.999
            else:
                published.append(ratio)
    assert np.mean(published) >= mean
    assert min(published) >= worst


def best_of_grid(problem: TokenProblem, energy_j: float, shares: Floats, powers: Floats) -> float:
    """The largest efficiency of two users with shares of the band, powers and token counts on a grid."""
    share, p0, p1 = np.ix_(shares, powers, powers)
    best = 0.0
    for k0, k1 in product(range(1, 6), repeat=2):
        bits = problem.token_bits * (k0 + 2), problem.token_bits * (k1 + 2)
        widths = problem.total_hz * share, problem.total_hz * (1 - share)
        seconds = [
            b / (w * np.log2(1 + p * g / w))
            for b, w, p, g in zip(bits, widths, (p0, p1), problem.gain_hz_per_w, strict=True)
        ]
        allowed = (seconds[0] * p0 <= energy_j) & (seconds[1] * p1 <= energy_j)
        allowed &= (seconds[0] <= problem.time_left_s[0]) & (seconds[1] <= problem.time_left_s[1])
        mass = problem.importance[0, :k0].sum() + problem.importance[1, :k1].sum()
        best = max(best, float(np.where(allowed, mass / np.maximum(*seconds), 0).max()))
    return best


def test_the_optimum_is_no_worse_than_a_fine_grid() -> None:
    """Two users: share of the band, both powers and both token counts on a grid, all formulas written out again."""
    problem = feasible(5, 2, 5, 0.2)
    best = best_of_grid(problem, 0.2, np.linspace(0.02, 0.98, 97), np.geomspace(2e-3, 0.2, 60))
    assert 0.97 * problem.efficiency(exhaustive(problem)) < best < problem.efficiency(exhaustive(problem)) * 1.000001


ABLATED = [
    {"optimise_power": False},
    {"optimise_bandwidth": False},
    {"optimise_power": False, "optimise_bandwidth": False},
]


@pytest.mark.parametrize("changed", ABLATED)
@pytest.mark.parametrize(("seed", "energy_j"), [(0, 0.8), (1, 0.4), (2, 0.3), (3, 0.5)])
def test_without_a_choice_solvers_reach_the_best_of_a_grid_and_no_more(
    changed: dict[str, bool], seed: int, energy_j: float
) -> None:
    """Two users: all formulas written out again, with powers and shares on a grid or at what is not chosen."""
    cells = (feasible(10 * seed + more, 2, 5, energy_j, **changed) for more in range(10))
    problem = next(cell for cell in cells if cell.users == 2)
    shares = np.linspace(0.02, 0.98, 193) if problem.optimise_bandwidth else np.array([0.5])
    powers = np.geomspace(1e-3, 0.2, 200) if problem.optimise_power else np.array([0.2])
    best = best_of_grid(problem, energy_j, shares, powers)
    for solve, least in ((exhaustive, 0.999), (by_latency, 0.999), (alternating, 0.6)):
        found = solve(problem)
        assert problem.excess(found) < 1e-9
        assert least * best < problem.efficiency(found) < best * 1.03
        if not problem.optimise_power:
            assert (found.power_w == 0.2).all()
        if not problem.optimise_bandwidth:
            assert found.bandwidth_hz == pytest.approx(problem.total_hz / 2)


@pytest.mark.parametrize("changed", ABLATED)
@pytest.mark.parametrize("energy_j", [0.8, 0.05])
def test_a_choice_less_is_never_better(changed: dict[str, bool], energy_j: float) -> None:
    """What is found without a choice is also open to who has it; and nobody is let in who cannot be served."""
    for seed in range(6):
        free = instance(seed, 4, 24, energy_j)
        bound = instance(seed, 4, 24, energy_j, **changed)
        among = admissible(bound)
        assert set(among) <= set(admissible(free))
        found = by_latency(bound.of(among))
        assert bound.of(among).excess(found) < 1e-9
        assert free.of(among).efficiency(by_latency(free.of(among))) >= 0.999 * bound.of(among).efficiency(found)


@pytest.mark.parametrize("seed", range(10))
def test_endless_time_and_tight_energy(seed: int) -> None:
    """Whoever spends all its energy is within limits, rounding apart, however long it may take."""
    endless = np.full(3, np.inf)
    problem = feasible(seed, 3, 7, 0.05, time_left_s=endless)
    published, best = (problem.efficiency(solve(problem)) for solve in (alternating, exhaustive))
    assert 0.6 * best < published <= best * (1 + 1e-9)


def test_limits() -> None:
    rich = feasible(1, 4, 24, 1e9, time_left_s=np.full(4, 1e9))
    assert (by_latency(rich).power_w == 0.2).all()
    for seed in range(3):
        narrow, wide = (feasible(seed, 4, 24, 0.2, total_hz=width) for width in (1e7, 2e7))
        if narrow.users == wide.users:  # else it serves others too
            once, twice = (cell.efficiency(by_latency(cell)) for cell in (narrow, wide))
            assert once < twice * 1.01
    peaked = np.zeros((4, 24))
    peaked[:, 0] = 8
    assert (by_latency(feasible(1, 4, 24, importance=peaked)).tokens == 1).all()
    flat = np.full((4, 24), 8 / 24)
    assert by_latency(feasible(1, 4, 24, importance=flat)).tokens.sum() > 48


def test_who_cannot_send_is_left_out() -> None:
    far = np.array([1e13, 1e3, 1e13])
    problem = instance(0, 3, 7, gain_hz_per_w=far)
    assert admissible(problem).tolist() == [0, 2]
    assert admissible(instance(0, 3, 7, gain_hz_per_w=far, time_left_s=np.array([1.0, 1.0, 0.0]))).tolist() == [0]
    rising = {"gain_hz_per_w": np.array([1e12, 2e12, 3e12]), "time_left_s": np.full(3, 2.0)}
    for total_hz, staying in ((1e6, []), (1.2e6, [2]), (2.4e6, [1, 2]), (4e6, [0, 1, 2])):  # the worst channel first
        crowded = instance(0, 3, 7, total_hz=total_hz, **rising)
        assert admissible(crowded).tolist() == staying
        needed = crowded.min_width_hz(np.ones(3, int), np.inf)
        assert needed[staying].sum() <= total_hz


def test_a_large_cell_is_quick_and_sound() -> None:
    problem = feasible(2, 50, 196, total_hz=5e7)
    found = by_latency(problem)
    assert problem.excess(found) < 1e-9
    assert problem.efficiency(found) >= 0.99 * problem.efficiency(alternating(problem))
    assert rate_bps(found.bandwidth_hz, found.power_w, problem.gain_hz_per_w).min() > 0


def test_too_many_combinations_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 200000 combinations"):
        exhaustive(feasible(0, 6, 24))
    with pytest.raises(ValueError, match="at least 9 tokens are required, but there are 7"):
        instance(0, 3, 7, min_tokens=9)
