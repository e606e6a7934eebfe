"""Waiting in the queues of servers, and placements that take it into account.

A token that goes to a server for j experts at once occupies it for j times the time of one. If these jobs arrive as a
Poisson process, their mean wait is given by the Pollaczek-Khinchine formula, which is that of M/D/1 for K = 1:

    W = rate E[S^2] / (2 (1 - rho)),    rho = rate E[S]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np

from learning.control.placement.problem import Floats, Integers, Load, Placement, PlacementProblem

MAX_UTILISATION = 0.99
"""Utilisation from which on the wait grows in proportion to it, so that overloaded servers can be compared."""
MAX_ITERATIONS = 10
"""Placements that `queue_aware` solves for at most."""
MAX_EVALUATIONS = 5000
"""Placements that `exchanged` tries at most."""

Solver = Callable[[PlacementProblem], Placement]


def chosen_servers(problem: PlacementProblem, placement: Placement) -> Integers:
    """(users, layers, experts): the server at which a user calls an expert, the fastest; -1 for cloud and device."""
    access_s, server = problem.uncached_s.copy(), np.full(problem.uncached_s.shape, -1, dtype=np.int64)
    for number, cached in enumerate(placement):
        own_s = problem.server_s[:, number, None, None]
        faster = cached & (own_s < access_s)
        server[faster] = number
        access_s = np.where(faster, own_s, access_s)
    return server


def utilisation(problem: PlacementProblem, placement: Placement, load: Load) -> Floats:
    """(servers,): fraction of time for which each server is busy, above 1 where it is overloaded."""
    jobs = _experts_per_job(problem, placement)
    return np.asarray(load.tokens_per_s * load.expert_s * (problem.activations.probability @ jobs))


def waits_s(problem: PlacementProblem, placement: Placement, load: Load) -> Floats:
    """(servers,): mean time in s that a call waits in the queue of each server under a placement."""
    jobs = _experts_per_job(problem, placement)
    squares = load.tokens_per_s * load.expert_s**2 * (problem.activations.probability @ jobs**2)
    busy = utilisation(problem, placement, load)
    stable = np.minimum(busy, MAX_UTILISATION)
    return np.asarray(squares / (2 * (1 - stable)))


def queue_latency_s(problem: PlacementProblem, placement: Placement, load: Load) -> float:
    """Expected time in s that a token waits for experts, in queues too, if users call the fastest idle server."""
    server = chosen_servers(problem, placement)
    waits = np.append(waits_s(problem, placement, load), 0.0)  # the last entry is for cloud and device: no queue
    access_s = problem.access_s(placement) + waits[server]
    user, layer, experts, probability = problem.activations
    return float(probability @ access_s[user[:, None], layer[:, None], experts].max(axis=1))


def queue_aware(problem: PlacementProblem, solve: Solver) -> Placement:
    """Place experts again and again with the waits that the last placements led to, and improve the best of them.

    Each problem has the waits added to the times of access. They are the mean of the last assumed ones and of those
    that follow from the placement, until a placement is repeated, or `MAX_ITERATIONS` times. Waits that belong to whole
    servers move all calls from one server to another, but do not divide them, which `exchanged` does at the end.

    Args:
        problem: The placement problem. Without a `load` it is solved once.
        solve: The solver.

    Returns:
        (servers, layers, experts): the placement with the smallest `queue_latency_s` of those tried.
    """
    placement = solve(problem)
    if problem.load is None:
        return placement
    tried, assumed_s = [placement], np.zeros(len(problem.storage_bytes))
    while len(tried) < MAX_ITERATIONS:
        assumed_s = (assumed_s + waits_s(problem, placement, problem.load)) / 2
        placement = solve(replace(problem, server_s=problem.server_s + assumed_s))
        if (placement == tried[-1]).all():
            break
        tried.append(placement)
    load = problem.load
    return exchanged(problem, min(tried, key=lambda each: queue_latency_s(problem, each, load)), load)


def exchanged(problem: PlacementProblem, placement: Placement, load: Load) -> Placement:
    """Add, drop or move single experts as long as `queue_latency_s` falls by that: local search.

    A move of an expert changes one server, or two of them. All moves are tried in turn until none of them helps,
    `MAX_EVALUATIONS` in total at most.
    """
    servers, layers, experts = problem.shape
    changes = [each for count in (1, 2) for each in combinations(range(servers), count)]
    moves = [(list(each), layer, expert) for layer, expert in np.ndindex(layers, experts) for each in changes]
    best, latency_s = placement.copy(), queue_latency_s(problem, placement, load)
    since, tried = 0, 0
    while since < len(moves) and tried < MAX_EVALUATIONS:
        move = moves[tried % len(moves)]
        best[move] = ~best[move]
        found_s = queue_latency_s(problem, best, load) if problem.feasible(best) else np.inf
        since, tried = since + 1, tried + 1
        if found_s < latency_s:
            latency_s, since = found_s, 0
        else:
            best[move] = ~best[move]
    return best


def _experts_per_job(problem: PlacementProblem, placement: Placement) -> Integers:
    """(rows, servers): how many experts a token of each row of `activations` calls at each server."""
    user, layer, experts, _ = problem.activations
    called = chosen_servers(problem, placement)[user[:, None], layer[:, None], experts]
    return np.asarray((called[:, :, None] == np.arange(len(problem.storage_bytes))).sum(axis=1), dtype=np.int64)
