"""Placements that a scenario names, waits in queues by formulas and by a simulated queue, and statistics of gates."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from expert_caches import random_problem
from named_streams import NamedStreams

from learning.control.placement import Activations, Load, PlacementProblem, baselines, brute_force, decomposition
from learning.control.placement import greedy as by_greedy
from learning.control.placement.controller import (
    EXPERT_PLACEMENTS,
    Auto,
    CloudOnly,
    Decomposed,
    Everywhere,
    ExpertPlacement,
    Greedy,
    Listed,
    OnDevice,
    RandomExperts,
)
from learning.control.placement.forecast import held_by
from learning.control.placement.queueing import (
    MAX_ITERATIONS,
    MAX_UTILISATION,
    chosen_servers,
    queue_aware,
    queue_latency_s,
    utilisation,
    waits_s,
)
from learning.control.placement.usage import co_activation_lift, drawn, gate_entropy_bits, observed
from learning.routing import UniformRouting, ZipfRouting
from learning.routing.routing import Layer

STREAMS = NamedStreams(1)
NAMES = ("a", "b")


def named(seed: int, top_k: int = 2, experts: int = 4, storage: int = 2) -> PlacementProblem:
    return replace(random_problem(seed, experts=experts, top_k=top_k, storage=storage), names=NAMES)


@pytest.mark.parametrize("name", EXPERT_PLACEMENTS)
def test_every_placement_fits_and_depends_on_names_of_draws_alone(name: str) -> None:
    rule: ExpertPlacement = EXPERT_PLACEMENTS[name]()
    for seed in range(5):
        problem = named(seed, storage=8 if name == "everywhere" else 2)
        placement = rule.place(problem, STREAMS)
        assert placement.shape == problem.shape
        assert problem.feasible(placement)
        assert (placement == rule.place(problem, STREAMS)).all()
        assert problem.latency_s(placement) <= problem.latency_s(problem.empty())


def test_names_stand_for_the_solvers_and_rules() -> None:
    for seed in range(10):
        problem = named(seed)
        functions = {
            "most_popular": baselines.most_popular(problem),
            "local_popularity": baselines.least_frequently_used(problem),
            "partition": baselines.round_robin(problem),
            "greedy": by_greedy(problem),
            "none": problem.empty(),
            "on_device": problem.empty(),
            "listed": problem.empty(),
        }
        for name, expected in functions.items():
            assert (EXPERT_PLACEMENTS[name]().place(problem, STREAMS) == expected).all(), name
        for rule, function in ((Decomposed(), decomposition), (Greedy(seeds=1), lambda p: by_greedy(p, 1))):
            found, saving_s = rule.place(problem, STREAMS), problem.saving_s(function(problem))
            assert problem.saving_s(found) == pytest.approx(saving_s)
        best = max(problem.saving_s(rule.place(problem, STREAMS)) for rule in (Greedy(), Decomposed()))
        assert problem.saving_s(Auto().place(problem, STREAMS)) == pytest.approx(best)
    assert (RandomExperts().place(named(0), STREAMS) != RandomExperts().place(named(0), NamedStreams(2))).any()
    assert (CloudOnly().device_share, OnDevice().device_share) == (0, 1)


def test_more_orders_and_sweeps_never_place_worse() -> None:
    for seed in range(10):
        problem = named(seed, top_k=3)
        savings = [
            problem.saving_s(rule.place(problem, STREAMS))
            for rule in (Decomposed(), Decomposed(random_orders=3), Decomposed(random_orders=3, sweeps=2))
        ]
        assert savings == sorted(savings)


def test_without_tie_break_two_servers_take_the_same_part_of_a_set_and_gain_nothing() -> None:
    """Each holds two of three experts that are always activated together."""
    zero = np.zeros(1, dtype=np.int64)
    problem = PlacementProblem(
        size_bytes=np.ones((1, 6), dtype=np.int64),
        storage_bytes=np.array([2, 2]),
        server_s=np.zeros((1, 2)),
        cloud_s=np.ones(1),
        device_s=np.ones(1),
        held=np.zeros((1, 1, 6), dtype=np.bool_),
        activations=Activations(zero, zero, np.array([[3, 4, 5]]), np.ones(1)),
    )
    assert problem.saving_s(Decomposed(tie_break=False).place(problem, STREAMS)) == 0
    assert problem.saving_s(Decomposed().place(problem, STREAMS)) == problem.saving_s(brute_force(problem)) == 1


def test_everywhere_needs_storage_for_all_and_a_list_names_servers_and_experts() -> None:
    with pytest.raises(ValueError, match="the experts placed at a need 32 bytes of storage, and it has 8"):
        Everywhere().place(named(0), STREAMS)
    problem = named(0)
    placement = Listed({"b": ((0,), (1,))}).place(problem, STREAMS)
    assert np.argwhere(placement).tolist() == [[1, 0, 0], [1, 1, 1]]
    assert np.argwhere(Listed({"a": ((2,),)}).place(problem, STREAMS)).tolist() == [[0, 0, 2], [0, 1, 2]]
    for experts, sentence in (
        ({"c": ((0,),)}, "placement.experts names c; servers that hold experts: a, b"),
        ({"a": ((0,), (1,), (2,))}, "placement.experts.a has 3 lists; give one, or one for each of 2 layers"),
        ({"a": ((4,),)}, "placement.experts.a names expert 4; a layer has 4, from 0"),
        ({"b": ((0, 1),)}, "the experts placed at b need 16 bytes of storage, and it has 8"),
    ):
        with pytest.raises(ValueError, match=sentence):
            Listed(experts).place(problem, STREAMS)


def test_devices_hold_what_their_own_users_activate_most_and_what_fits() -> None:
    problem = named(1, top_k=1)
    own = problem.marginals()[2].ravel()
    for count, storage in ((3, 100), (8, 9), (0, 100)):
        held = held_by(problem, 2, storage, count / 8).ravel()
        fitting = min(count, storage // 4)
        assert held.sum() == fitting
        assert set(np.flatnonzero(held)) == set(np.argsort(-own, kind="stable")[:fitting])


def loaded(problem: PlacementProblem, tokens_per_s: float) -> tuple[PlacementProblem, Load]:
    load = Load(tokens_per_s, np.array([0.02, 0.05]))
    return replace(problem, load=load), load


def test_users_call_the_fastest_site_and_the_load_is_that_of_the_calls() -> None:
    problem, load = loaded(named(3), 4.0)
    placement = np.random.default_rng(0).random(problem.shape) < 0.6
    busy, squares = np.zeros(2), np.zeros(2)
    for user, layer, experts, probability in zip(*problem.activations, strict=True):
        counts = [0, 0]
        for expert in experts:
            times = {-1: problem.uncached_s[user, layer, expert]}
            times |= {n: problem.server_s[user, n] for n in range(2) if placement[n, layer, expert]}
            fastest = min(times, key=lambda n: times[n])
            assert chosen_servers(problem, placement)[user, layer, expert] == fastest
            if fastest >= 0:
                counts[fastest] += 1
        for n in range(2):
            busy[n] += 4.0 * probability * counts[n] * load.expert_s[n]
            squares[n] += 4.0 * probability * (counts[n] * load.expert_s[n]) ** 2
    assert utilisation(problem, placement, load) == pytest.approx(busy)
    assert waits_s(problem, placement, load) == pytest.approx(squares / (2 * (1 - busy)))


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_wait_is_that_of_a_simulated_queue(top_k: int) -> None:
    """Lindley's recursion over 200,000 tokens of one user whose experts are all at one server: within 3 %."""
    problem = named(2, top_k=top_k, storage=8)
    one = np.zeros(len(problem.activations.user), dtype=np.int64)
    share = problem.activations.probability / problem.activations.probability.sum()
    problem = replace(problem, activations=problem.activations._replace(user=one, layer=one, probability=share))
    problem = replace(problem, server_s=np.array([[0.0, 9.0]] * 3), held=problem.held & False)
    everywhere = ~problem.empty()
    load = Load(0.7 / (0.02 * top_k), np.array([0.02, 0.05]))
    gaps = np.random.default_rng(7).exponential(1 / load.tokens_per_s, 200_000)
    wait_s, total_s = 0.0, 0.0
    for gap in gaps:
        wait_s = max(wait_s + 0.02 * top_k - gap, 0.0)
        total_s += wait_s
    assert utilisation(problem, everywhere, load) == pytest.approx([0.7, 0.0])
    predicted = waits_s(problem, everywhere, load)
    assert predicted[1] == 0
    assert predicted[0] == pytest.approx(0.02 * top_k * 0.7 / (2 * 0.3))  # M/D/1
    assert total_s / len(gaps) == pytest.approx(predicted[0], rel=0.03)


def test_the_latency_under_load_is_never_less_and_tends_to_that_without_queues() -> None:
    for seed in range(10):
        problem = named(seed)
        placement = decomposition(problem)
        latencies = [queue_latency_s(*_given(problem, placement, rate)) for rate in (0.0, 0.1, 1.0, 10.0, 1000.0)]
        assert latencies[0] == pytest.approx(problem.latency_s(placement), rel=1e-12)
        assert all(low <= high for low, high in pairwise(latencies))
        assert latencies[-1] < np.inf  # beyond MAX_UTILISATION
    assert 0.9 < MAX_UTILISATION < 1


def _given(problem: PlacementProblem, placement: np.ndarray, rate: float) -> tuple[PlacementProblem, np.ndarray, Load]:
    full, load = loaded(problem, rate)
    return full, placement, load


def test_a_hot_server_loses_experts_to_a_slower_one() -> None:
    """Two servers, one a little faster for the only user; halving the load takes the wait from 0.475 to 0.023 s."""
    experts = np.arange(4)
    zeros = 0 * experts
    problem = PlacementProblem(
        size_bytes=np.ones((1, 4), dtype=np.int64),
        storage_bytes=np.array([4, 4]),
        server_s=np.array([[0.10, 0.11]]),
        cloud_s=np.ones(1),
        device_s=np.ones(1),
        held=np.zeros((1, 1, 4), dtype=np.bool_),
        activations=Activations(zeros, zeros, experts[:, None], np.full(4, 0.25)),
        load=Load(0.95 / 0.05, np.array([0.05, 0.05])),
    )
    assert problem.load is not None
    plain, aware = by_greedy(problem), queue_aware(problem, by_greedy)
    assert utilisation(problem, plain, problem.load).max() == pytest.approx(0.95)
    assert utilisation(problem, aware, problem.load).max() < 0.95
    assert queue_latency_s(problem, aware, problem.load) == pytest.approx(0.105 + 0.05 * 0.475 / (2 * 0.525))
    assert (queue_aware(replace(problem, load=None), by_greedy) == plain).all()


def test_each_problem_has_the_waits_of_the_placements_before_it() -> None:
    """Half of the waits after the first placement; then the mean of these and of those of the second one."""
    problem, load = loaded(named(5, storage=3), 12.0)
    added: list[np.ndarray] = []
    placements: list[np.ndarray] = []

    def solve(asked: PlacementProblem) -> np.ndarray:
        added.append((asked.server_s - problem.server_s)[0])
        placements.append(by_greedy(asked) if len(placements) % 2 == 0 else baselines.round_robin(asked))
        return placements[-1]

    queue_aware(problem, solve)
    waits = [waits_s(problem, placement, load) for placement in placements]
    assert len(added) == MAX_ITERATIONS
    assert added[0] == pytest.approx(0)
    assert added[1] == pytest.approx(waits[0] / 2)
    assert added[2] == pytest.approx(waits[0] / 4 + waits[1] / 2)


def test_taking_queues_into_account_never_predicts_a_longer_latency() -> None:
    better = 0
    for seed in range(30):
        problem, load = loaded(named(seed, storage=3), 12.0)
        plain, aware = (Greedy(queue_aware=aware).place(problem, STREAMS) for aware in (False, True))
        assert problem.feasible(aware)
        assert queue_latency_s(problem, aware, load) <= queue_latency_s(problem, plain, load)
        better += queue_latency_s(problem, aware, load) < 0.99 * queue_latency_s(problem, plain, load)
    assert better > 5


def test_users_have_equal_shares_whatever_the_length_of_their_traces() -> None:
    rng = np.random.default_rng(0)
    chosen = {0: rng.random((2, 10, 5)).argsort(axis=2)[:, :, :2], 1: rng.random((2, 90, 5)).argsort(axis=2)[:, :, :2]}
    activations = observed(chosen)
    for user, layer in np.ndindex(2, 2):
        own = activations.probability[(activations.user == user) & (activations.layer == layer)]
        assert own.sum() == pytest.approx(0.5)


def test_drawn_activations_follow_the_routing_distribution() -> None:
    """Uniform: entropy log2(E), and the lift of distinct experts. Users with interests of their own: less entropy."""
    uniform = drawn(UniformRouting(), STREAMS, (0, 1), layers=2, top_k=2, experts=6)
    problem = replace(random_problem(0, users=2, experts=6), activations=uniform)
    assert gate_entropy_bits(problem.marginals()) == pytest.approx(np.log2(6), abs=0.01)
    assert co_activation_lift(uniform, problem.marginals()) == pytest.approx(6 / (2 * 5), rel=0.02)
    zipf = drawn(ZipfRouting(2.0, own_ranks=True), STREAMS, (0, 1), layers=2, top_k=2, experts=6)
    assert gate_entropy_bits(replace(problem, activations=zipf).marginals()) < 2.2


def test_drawn_activations_have_the_interests_that_requests_have_in_every_layer() -> None:
    """The favourite of each user and layer, who differ in it, is the one of the draws of a request."""
    zipf, users, layers = ZipfRouting(3.0, own_ranks=True), (0, 1, 2), 3
    activations = drawn(zipf, STREAMS, users, layers, top_k=1, experts=8)
    favourites = {}
    for user, layer in np.ndindex(len(users), layers):
        rows = (activations.user == user) & (activations.layer == layer)
        favourites[user, layer] = activations.experts[rows][activations.probability[rows].argmax(), 0]
        request = zipf.draw(STREAMS, 200, 1, 8, user, 5, layer=Layer(layer, layers))
        assert favourites[user, layer] == np.bincount(request[:, 0]).argmax()
    assert len(set(favourites.values())) > 3


def test_the_lift_of_experts_that_are_always_activated_together_is_the_number_of_pairs() -> None:
    chosen = {0: np.array([[[0, 1], [2, 3], [1, 0], [3, 2]]])}
    activations = observed(chosen)
    problem = replace(random_problem(0, users=1, layers=1, experts=4), activations=activations)
    assert co_activation_lift(activations, problem.marginals()) == pytest.approx(2.0)
    assert gate_entropy_bits(problem.marginals()) == pytest.approx(2.0)
    single = replace(problem, activations=observed({0: np.array([[[0], [1]]])}))
    assert np.isnan(co_activation_lift(single.activations, single.marginals()))
