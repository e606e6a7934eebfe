"""Caches of experts: the latency model by its definition, solvers against brute force and by their proven fractions."""

from collections import Counter
from dataclasses import replace
from itertools import permutations, product
from math import e

import numpy as np
import pytest
from expert_caches import random_problem
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.control.placement import (
    Activations,
    Placement,
    PlacementProblem,
    accelerated,
    auto,
    best_of_orders,
    brute_force,
    decomposition,
    greedy,
)
from learning.control.placement.decomposition import best_cache, by_load
from learning.control.placement.knapsack import by_convolution, by_states
from learning.control.placement.problem import Floats
from learning.control.placement.profiles import enumerated

SEEDS = range(200)
ROUNDING = 1e-12
TIES = 1e-8
"""A server's experts are the best up to a billionth of the latency without caches, for each of the K experts."""


def always(problem: PlacementProblem, *sets: tuple[float, tuple[int, ...]]) -> PlacementProblem:
    """The problem with activations of one user in one layer, as (probability, experts)."""
    zeros = np.zeros(len(sets), dtype=np.int64)
    chosen = np.array([experts for _, experts in sets])
    activations = Activations(zeros, zeros, chosen, np.array([probability for probability, _ in sets]))
    return replace(problem, activations=activations)


def one_layer(servers: int, experts: int, storage: int, held: tuple[int, ...] = ()) -> PlacementProblem:
    """One user, sizes of one byte; 1 s to the cloud, no time to servers and device."""
    own = np.isin(np.arange(experts), held)[None, None]
    nothing = Activations(*(np.zeros(0, dtype=np.int64),) * 2, np.zeros((0, 1), dtype=np.int64), np.zeros(0))
    sizes, storages = np.ones((1, experts), dtype=np.int64), np.full(servers, storage)
    return PlacementProblem(sizes, storages, np.zeros((1, servers)), np.ones(1), np.zeros(1), own, nothing)


def random_placement(problem: PlacementProblem, rng: np.random.Generator) -> Placement:
    return rng.random(problem.shape) < rng.random()


def test_the_latency_is_that_of_the_definition() -> None:
    for seed, top_k in product(range(5), (1, 2, 3)):
        problem = random_problem(seed, experts=4, top_k=top_k)
        placement = random_placement(problem, np.random.default_rng(seed))
        expected = 0.0
        for user, layer, experts, probability in zip(*problem.activations, strict=True):
            waits = []
            for expert in experts:
                times = [problem.cloud_s[user]]
                times += [problem.server_s[user, n] for n in range(2) if placement[n, layer, expert]]
                times += [problem.device_s[user]] if problem.held[user, layer, expert] else []
                waits.append(min(times))
            expected += probability * max(waits)
        assert problem.latency_s(placement) == pytest.approx(expected, rel=ROUNDING)


def test_probabilities_of_sets_are_their_frequencies_in_a_trace() -> None:
    rng = np.random.default_rng(0)
    user, layer = rng.integers(3, size=500), rng.integers(2, size=500)
    experts = rng.random((500, 5)).argsort(axis=1)[:, :2]
    counts = Counter((u, n, frozenset(chosen)) for u, n, chosen in zip(user, layer, experts.tolist(), strict=True))
    rows = Activations.counted(user, layer, experts)
    found = {(u, n, frozenset(chosen.tolist())): p for u, n, chosen, p in zip(*rows, strict=True)}
    assert found == {key: count / (layer == key[1]).sum() for key, count in counts.items()}


def test_greedy_takes_what_saves_alone_and_dynamic_programming_what_saves_together() -> None:
    local = 4
    problem = always(one_layer(1, 5, 2, held=(local,)), (0.8, (0, 1)), (0.1, (2, local)), (0.1, (3, local)))
    assert greedy(problem)[0, 0].nonzero()[0].tolist() == [2, 3]
    assert problem.saving_s(greedy(problem)) == pytest.approx(0.2)
    for solver in (decomposition, accelerated, auto):
        assert solver(problem)[0, 0].nonzero()[0].tolist() == [0, 1]
        assert problem.saving_s(solver(problem)) == pytest.approx(0.8)


def test_greedy_goes_by_the_saving_per_byte_then_by_the_potential_and_knows_the_best_single_expert() -> None:
    problem = always(one_layer(1, 3, 4), (0.4, (0,)), (0.3, (1,)), (0.3, (2,)))
    problem = replace(problem, size_bytes=np.array([[4, 1, 1]]), storage_bytes=np.array([4]))
    assert greedy(problem)[0, 0].tolist() == [False, True, True]
    problem = always(problem, (0.7, (0,)), (0.3, (1,)))  # the second saves more per byte, and leaves no room
    assert greedy(problem)[0, 0].tolist() == [True, False, False]
    problem = always(one_layer(3, 3, 1), (1.0, (0, 1, 2)))
    assert problem.saving_s(greedy(problem)) == 1.0


def test_servers_complete_each_others_sets_where_none_can_hold_a_whole_one() -> None:
    for held in (0, 3):  # without potentials the first two experts of the layer would be taken, by both servers
        problem = always(one_layer(2, 6, 2), (0.7, (held + 0, held + 1, held + 2)), (0.3, (0, 1, 5)))
        assert problem.saving_s(decomposition(problem)) == pytest.approx(problem.saving_s(brute_force(problem)))


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_a_servers_experts_are_the_best_given_the_others(top_k: int) -> None:
    for seed in range(20):
        problem = random_problem(seed, experts=4, top_k=top_k, storage=3, equal_sizes=seed % 2 == 0)
        others = random_placement(problem, np.random.default_rng(seed))
        best = 0.0
        for cached in product([False, True], repeat=8):
            placement = others.copy()
            placement[1] = np.array(cached).reshape(2, 4)
            if problem.used_bytes(placement)[1] <= problem.storage_bytes[1]:
                best = max(best, problem.saving_s(placement))
        for knapsack in (by_states, by_convolution):
            placement = others.copy()
            placement[1] = best_cache(problem, others, 1, enumerated, knapsack)
            assert problem.saving_s(placement) == pytest.approx(best, abs=TIES)


def test_one_server_with_one_expert_a_token_is_a_textbook_knapsack() -> None:
    for seed in range(20):
        problem = random_problem(seed, servers=1, layers=3, experts=5, storage=6, equal_sizes=False)
        near_s = np.minimum(problem.uncached_s, problem.server_s[:, 0, None, None])
        worth = (problem.marginals() * (problem.uncached_s - near_s)).sum(axis=0).ravel()
        table = np.zeros(problem.storage_bytes[0] + 1)
        for size, value in zip(problem.size_bytes.ravel(), worth, strict=True):
            table[size:] = np.maximum(table[size:], table[:-size] + value)
        assert problem.saving_s(decomposition(problem)) == pytest.approx(table[-1], abs=TIES)


@pytest.mark.parametrize(("top_k", "equal_sizes"), [(1, True), (1, False), (2, True), (2, False), (3, False)])
def test_one_server_is_solved_exactly(top_k: int, equal_sizes: bool) -> None:
    for seed in SEEDS:
        problem = random_problem(seed, 2, 1, experts=4, top_k=top_k, storage=3, equal_sizes=equal_sizes)
        optimum = problem.saving_s(brute_force(problem))
        assert problem.saving_s(decomposition(problem)) == pytest.approx(optimum, abs=TIES)


def test_greedy_reaches_its_proven_fractions() -> None:
    for seed in SEEDS:
        problem = random_problem(seed)
        assert problem.saving_s(greedy(problem)) >= problem.saving_s(brute_force(problem)) / 2
        problem = random_problem(seed, servers=1, equal_sizes=False)
        optimum = problem.saving_s(brute_force(problem))
        assert problem.saving_s(greedy(problem)) >= optimum * (1 - 1 / e) / 2
        assert problem.saving_s(greedy(problem, seeds=3)) >= optimum * (1 - 1 / e)


def test_greedy_from_small_sets_reaches_the_published_fraction_with_two_servers() -> None:
    for seed in range(25):
        problem = random_problem(seed, users=2, storage=1 + seed % 2, equal_sizes=False)
        assert problem.saving_s(greedy(problem, seeds=2)) >= problem.saving_s(brute_force(problem)) * (1 - 1 / e)


def test_the_decomposition_reaches_half_of_the_optimum_with_one_expert_a_token() -> None:
    for seed in SEEDS:
        for equal_sizes, solver in ((True, decomposition), (False, decomposition), (True, accelerated)):
            problem = random_problem(seed, equal_sizes=equal_sizes)
            assert problem.saving_s(solver(problem)) >= problem.saving_s(brute_force(problem)) / 2 - TIES


def test_the_decomposition_saves_more_than_greedy_where_experts_work_together() -> None:
    difference = []
    for seed in SEEDS:
        problem = random_problem(seed, top_k=2)
        best = problem.saving_s(brute_force(problem))
        assert problem.saving_s(auto(problem)) <= best + ROUNDING
        if best > 0:
            difference.append((problem.saving_s(decomposition(problem)) - problem.saving_s(greedy(problem))) / best)
    assert np.mean(difference) > 5 * np.std(difference) / len(difference) ** 0.5


@pytest.mark.parametrize("top_k", [1, 2])
def test_acceleration_by_convolution_changes_no_saving(top_k: int) -> None:
    for seed in range(40):
        problem = random_problem(seed, servers=3, layers=3, experts=4, top_k=top_k, equal_sizes=seed % 2 == 0)
        plain, fast = decomposition(problem), decomposition(problem, enumerated, by_convolution)
        assert problem.saving_s(fast) == pytest.approx(problem.saving_s(plain), rel=ROUNDING)


def test_with_one_expert_a_token_the_accelerated_decomposition_is_the_plain_one() -> None:
    for seed in range(40):
        problem = random_problem(seed, servers=3, layers=3, experts=4)
        assert problem.saving_s(accelerated(problem)) == pytest.approx(problem.saving_s(decomposition(problem)))


def test_a_sweep_never_lowers_the_saving_and_orders_and_auto_take_the_best() -> None:
    for seed in range(20):
        problem = random_problem(seed, servers=3, top_k=2, equal_sizes=False)
        savings = [problem.saving_s(decomposition(problem, sweeps=sweeps)) for sweeps in range(4)]
        assert savings == sorted(savings)
        assert problem.saving_s(best_of_orders(problem, np.random.default_rng(0), 3)) >= savings[0]
        plain = problem.saving_s(decomposition(problem, enumerated, by_convolution))
        assert problem.saving_s(auto(problem)) == max(problem.saving_s(greedy(problem)), plain)


def test_a_sweep_with_approximate_profiles_keeps_what_was_better() -> None:
    for seed in range(40):
        problem = random_problem(seed, servers=3, layers=2, experts=6, top_k=3, storage=4, equal_sizes=False)
        savings = [problem.saving_s(accelerated(problem, sweeps=sweeps)) for sweeps in range(3)]
        assert savings == sorted(savings)


def test_servers_with_much_storage_and_many_users_come_first() -> None:
    problem = random_problem(0, users=5, servers=4)
    near = np.array([0, 2, 2, 3, 3])  # nearest servers of the users
    server_s = np.where(near[:, None] == np.arange(4), 0.1, 0.2)
    problem = replace(problem, server_s=server_s, storage_bytes=np.array([9, 50, 4, 8]))
    assert by_load(problem) == [3, 0, 2, 1]
    placements = {order: decomposition(problem, order=order) for order in permutations(range(4))}
    same = {order for order, placement in placements.items() if (placement == decomposition(problem)).all()}
    assert (3, 0, 2, 1) in same
    assert (0, 1, 2, 3) not in same


def test_more_storage_and_more_servers_lower_the_latency_between_its_bounds() -> None:
    for top_k in (1, 2):
        problem = random_problem(1, servers=1, layers=2, experts=4, top_k=top_k)
        latencies = []
        for storage in range(0, 4 * 9, 4):
            limited = replace(problem, storage_bytes=np.array([storage]))
            latencies.append(limited.latency_s(decomposition(limited)))
        assert latencies == sorted(latencies, reverse=True)
        assert latencies[0] == problem.latency_s(problem.empty())
        everywhere = ~problem.empty()
        assert latencies[-1] == pytest.approx(problem.latency_s(everywhere), rel=ROUNDING)
        two = random_problem(1, servers=2, layers=2, experts=4, top_k=top_k)
        one = replace(two, storage_bytes=two.storage_bytes * np.array([1, 0]))
        assert two.latency_s(brute_force(two)) <= two.latency_s(brute_force(one))


def submodular(value: Floats) -> bool:
    """Whether (f(A), f(A + x), f(B), f(B + x)) with A within B has gains that do not ascend."""
    return bool(value[1] - value[0] >= value[3] - value[2] - ROUNDING)


def chain(problem: PlacementProblem, rng: np.random.Generator, servers: list[int]) -> Floats:
    """Savings of placements A, A + x, B, B + x, where A is within B; beyond `servers` all four are alike."""
    large = random_placement(problem, rng)
    small = large & (rng.random(problem.shape) < 0.5)
    others = np.setdiff1d(np.arange(problem.shape[0]), servers)
    small[others] = large[others]
    added = rng.choice(servers), rng.integers(problem.shape[1]), rng.integers(problem.shape[2])
    large[added] = small[added] = False
    values = []
    for placement in (small, large):
        larger = placement.copy()
        larger[added] = True
        values += [problem.saving_s(placement), problem.saving_s(larger)]
    return np.array(values)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_with_one_expert_a_token_the_saving_is_monotone_and_submodular(seed: int) -> None:
    value = chain(random_problem(seed, experts=4), np.random.default_rng(seed), [0, 1])
    assert submodular(value)
    assert value[1] >= value[0] - ROUNDING


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), top_k=st.integers(1, 3))
def test_the_saving_of_one_server_is_monotone_and_supermodular(seed: int, top_k: int) -> None:
    value = chain(random_problem(seed, experts=4, top_k=top_k), np.random.default_rng(seed), [1])
    assert submodular(-value)
    assert value[1] >= value[0] - ROUNDING


def test_with_two_experts_a_token_the_saving_is_neither_submodular_nor_supermodular() -> None:
    values = [chain(random_problem(seed, experts=4, top_k=2), np.random.default_rng(seed), [0, 1]) for seed in SEEDS]
    assert not all(submodular(value) for value in values)
    assert not all(submodular(-value) for value in values)
    together = always(one_layer(1, 2, 2), (1.0, (0, 1)))
    assert [together.saving_s(np.array([[cached]])) for cached in ([True, False], [True, True])] == [0.0, 1.0]


def test_the_storage_of_no_server_is_exceeded() -> None:
    for seed in range(20):
        problem = random_problem(seed, servers=3, layers=3, experts=5, top_k=2, storage=seed % 5, equal_sizes=False)
        for solver in (greedy, decomposition, accelerated, auto):
            assert problem.feasible(solver(problem))


def test_what_cannot_be_placed_is_refused() -> None:
    problem = random_problem(0, servers=1, layers=1, experts=17)
    with pytest.raises(ValueError, match=r"sets of 17 experts cannot be enumerated; 16 are the most"):
        decomposition(problem)
    with pytest.raises(ValueError, match=r"sets of 17 experts are too many for brute force"):
        brute_force(problem)
    with pytest.raises(ValueError, match=r"brute force would try \d+ placements"):
        brute_force(random_problem(0, servers=4, layers=2, experts=6, storage=5))
    with pytest.raises(ValueError, match=r"cannot be negative"):
        replace(problem, storage_bytes=np.array([-1]))
    with pytest.raises(ValueError, match=r"same expert of a layer twice"):
        always(problem, (1.0, (3, 3)))
