"""Simple placements of experts: what each caches, by its definition."""

from dataclasses import replace

import numpy as np
import pytest
from expert_caches import random_problem

from learning.control.placement import Activations, PlacementProblem, brute_force, decomposition, greedy
from learning.control.placement import baselines as rules
from stats import assert_proportion


def test_equal_users_and_servers_share_all_experts_and_popularity_caches_the_same_everywhere() -> None:
    experts = np.arange(6)
    problem = PlacementProblem(
        size_bytes=np.ones((1, 6), dtype=np.int64),
        storage_bytes=np.array([2, 2, 2]),
        server_s=np.full((1, 3), 0.2),
        cloud_s=np.ones(1),
        device_s=np.ones(1),
        held=np.zeros((1, 1, 6), dtype=np.bool_),
        activations=Activations(0 * experts, 0 * experts, experts[:, None], np.arange(1, 7) / 21),
    )
    for placement in (brute_force(problem), greedy(problem), decomposition(problem), rules.round_robin(problem)):
        assert placement.sum(axis=0).tolist() == [[1] * 6]
        assert problem.latency_s(placement) == pytest.approx(0.2)
    assert [np.flatnonzero(cached).tolist() for cached in rules.round_robin(problem)[:, 0]] == [[2, 5], [1, 4], [0, 3]]
    popular = rules.most_popular(problem)
    assert popular[:, 0].tolist() == [[False] * 4 + [True] * 2] * 3
    assert problem.latency_s(popular) == pytest.approx(0.2 * 11 / 21 + 10 / 21)


def test_each_rule_ranks_by_the_users_that_it_knows() -> None:
    problem = random_problem(3, users=6, servers=3, layers=2, experts=5, top_k=2, storage=2)
    own = rules.least_frequently_used(problem)
    for server in range(3):
        rows = problem.nearest[problem.activations.user] == server
        counts = np.zeros((2, 5))
        for layer, experts, probability in zip(*(each[rows] for each in problem.activations[1:]), strict=True):
            counts[layer, experts] += probability
        assert set(np.flatnonzero(own[server])) == set(np.argsort(-counts.ravel(), kind="stable")[:2])


def test_the_most_recent_experts_are_cached_as_often_as_they_are_activated() -> None:
    probability, draws = np.array([0.1, 0.2, 0.7]), 3000
    problem = random_problem(0, users=1, servers=1, layers=1, experts=4, top_k=2, storage=2)
    sets = np.array([[0, 1], [1, 2], [2, 3]])
    activations = Activations(np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64), sets, probability)
    problem = replace(problem, activations=activations)
    rng = np.random.default_rng(1)
    caches = [rules.least_recently_used(problem, rng)[0, 0] for _ in range(draws)]
    found = [sum(bool(cached[chosen].all()) for cached in caches) for chosen in sets]
    assert sum(found) == draws  # two experts are cached, those of the last activation
    for successes, expected in zip(found, probability, strict=True):
        assert_proportion(successes, draws, expected)


def test_no_rule_exceeds_storage_or_leaves_room_for_another_expert() -> None:
    for seed in range(10):
        problem = random_problem(seed, users=4, servers=3, experts=4, top_k=2, storage=2, equal_sizes=False)
        rng = np.random.default_rng(seed)
        full = (rules.random(problem, rng), rules.most_popular(problem), rules.least_frequently_used(problem))
        for placement in (*full, rules.least_recently_used(problem, rng)):
            assert problem.feasible(placement)
            free_bytes = problem.storage_bytes - problem.used_bytes(placement)
            assert (placement | (problem.size_bytes > free_bytes[:, None, None])).all()
        dealt = rules.round_robin(problem)
        assert problem.feasible(dealt)
        assert dealt.sum(axis=0).max() <= 1


def test_a_server_alone_does_as_if_the_others_had_no_storage() -> None:
    problem = random_problem(2, servers=2, experts=4, storage=3)
    together = rules.greedy_alone(problem)
    assert problem.feasible(together)
    assert problem.saving_s(together) < problem.saving_s(greedy(problem))
    one = random_problem(2, servers=1, experts=4, storage=3)
    assert (rules.greedy_alone(one) == greedy(one)).all()
