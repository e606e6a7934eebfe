"""Simple placements that solvers are compared with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from learning.control.placement.greedy import greedy
from learning.control.placement.problem import Floats, Placement, PlacementProblem


def filled(problem: PlacementProblem, scores: Floats) -> Placement:
    """Every server caches the experts of the highest scores that fit, one after another.

    Args:
        problem: The placement problem.
        scores: (servers, layers, experts): of equal ones the first in order of layers and experts comes first.

    Returns:
        (servers, layers, experts): True where a server caches an expert.
    """
    placement, size_bytes = problem.empty(), problem.size_bytes.ravel()
    for cached, score, free_bytes in zip(placement, scores, problem.storage_bytes.tolist(), strict=True):
        for expert in np.argsort(-score.ravel(), kind="stable"):
            if size_bytes[expert] <= free_bytes:
                cached.ravel()[expert] = True
                free_bytes -= size_bytes[expert]
    return placement


def random(problem: PlacementProblem, rng: np.random.Generator) -> Placement:
    """Every server caches random experts that fit."""
    return filled(problem, rng.random(problem.shape))


def most_popular(problem: PlacementProblem) -> Placement:
    """Every server caches the experts that all users' tokens activate most often, so that all cache the same."""
    return filled(problem, np.broadcast_to(problem.marginals().sum(axis=0), problem.shape))


def least_frequently_used(problem: PlacementProblem) -> Placement:
    """Every server caches the experts that tokens of the users nearest to it activate most often.

    This is the content of a cache that evicts the least frequently used expert, after many tokens.
    """
    marginals = problem.marginals()
    servers = range(problem.shape[0])
    return filled(problem, np.stack([marginals[problem.nearest == server].sum(axis=0) for server in servers]))


def least_recently_used(problem: PlacementProblem, rng: np.random.Generator) -> Placement:
    """Contents of caches that evict the least recently used expert, at a random instant.

    A server sees the tokens of the users nearest to it. Activations of a set are a Poisson process whose rate is its
    probability, so that the time since the last one is exponentially distributed, independently of other sets (the
    independent reference model). An expert is as old as the most recent set with it; the most recent ones are cached.
    """
    user, layer, experts, probability = problem.activations
    age = rng.exponential(1 / probability)
    expert_age = np.full(problem.shape, np.inf)
    at = problem.nearest[user][:, None], layer[:, None], experts
    np.minimum.at(expert_age, at, age[:, None])
    return filled(problem, -expert_age)


def round_robin(problem: PlacementProblem) -> Placement:
    """Experts are dealt to the servers in turn, the most popular first, so that none is cached twice.

    An expert that does not fit into the server whose turn it is goes to the next one with room for it.
    """
    placement, free_bytes, turn = problem.empty(), problem.storage_bytes.copy(), 0
    servers, size_bytes = len(free_bytes), problem.size_bytes.ravel()
    for expert in np.argsort(-problem.marginals().sum(axis=0).ravel(), kind="stable"):
        for server in (np.arange(servers) + turn) % servers:
            if size_bytes[expert] <= free_bytes[server]:
                placement[server].ravel()[expert] = True
                free_bytes[server] -= size_bytes[expert]
                turn = int(server) + 1
                break
    return placement


def greedy_alone(problem: PlacementProblem) -> Placement:
    """Every server caches greedily as if no other had storage."""
    placement, servers = problem.empty(), np.arange(problem.shape[0])
    for server in servers:
        alone = replace(problem, storage_bytes=np.where(servers == server, problem.storage_bytes, 0))
        placement[server] = greedy(alone)[server]
    return placement
