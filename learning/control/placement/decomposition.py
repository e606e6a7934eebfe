"""Successive greedy decomposition: one server after another, each solved by dynamic programming given those before.

With K = 1 the saving is monotone and submodular and every server's problem is solved exactly, so that at least 1/2 of
the optimal saving is reached [Fisher, Nemhauser, Wolsey, Math. Programming Study 8, 1978]. With one server the result
is optimal for every K. With several servers and K >= 2 a bound of this kind is not known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learning.control.placement.knapsack import Knapsack, by_convolution, by_states
from learning.control.placement.problem import Booleans, Placement, PlacementProblem
from learning.control.placement.profiles import ProfileOf, chained, enumerated
from learning.control.placement.server import layer_values


def decomposition(
    problem: PlacementProblem,
    profile_of: ProfileOf = enumerated,
    knapsack: Knapsack = by_states,
    order: Sequence[int] | None = None,
    sweeps: int = 0,
    *,
    tie_break: bool = True,
) -> Placement:
    """Place experts server by server: each takes the best experts given those of the servers before it.

    Args:
        problem: The placement problem.
        profile_of: The profile of a layer: `enumerated` (default) is exact, for few experts; `chained` is approximate,
            for many.
        knapsack: Division of storage among layers: `by_states` (default), or the accelerated `by_convolution`.
        order: Numbers of all servers (default: `by_load`).
        sweeps: Number of times that all servers are solved anew after that, each given all others (default 0). The
            saving never decreases.
        tie_break: Whether potentials decide between sets of experts of equal saving (default), or their order.

    Returns:
        (servers, layers, experts): True where a server caches an expert.
    """
    placement, servers = problem.empty(), by_load(problem) if order is None else order
    for server in servers:
        placement[server] = best_cache(problem, placement, server, profile_of, knapsack, tie_break=tie_break)
    for _ in range(sweeps):
        for server in servers:
            tried = placement.copy()
            tried[server] = best_cache(problem, placement, server, profile_of, knapsack, tie_break=tie_break)
            placement = max(placement, tried, key=problem.saving_s)
    return placement


def accelerated(problem: PlacementProblem, order: Sequence[int] | None = None, sweeps: int = 0) -> Placement:
    """The decomposition in polynomial time: profiles by greedy chains, and max-plus convolutions over layers."""
    return decomposition(problem, chained, by_convolution, order, sweeps)


def best_cache(
    problem: PlacementProblem,
    others: Placement,
    server: int,
    profile_of: ProfileOf,
    knapsack: Knapsack,
    *,
    tie_break: bool = True,
) -> Booleans:
    """The experts (layers, experts) that a server should cache.

    Args:
        problem: The placement problem.
        others: (servers, layers, experts): what the other servers cache; the entries of `server` do not count.
        server: Number of the server.
        profile_of: The profile of a layer.
        knapsack: Division of storage among layers.
        tie_break: As in `decomposition`.
    """
    profiles = [profile_of(value) for value in layer_values(problem, others, server, tie_break=tie_break)]
    sets = knapsack(profiles, int(problem.storage_bytes[server]))
    return np.array([profile.cached[index] for profile, index in zip(profiles, sets, strict=True)])


def by_load(problem: PlacementProblem) -> list[int]:
    """Servers by descending storage times number of users to whom they are nearest; of equal ones the first first."""
    users = np.bincount(problem.nearest, minlength=len(problem.storage_bytes))
    return [int(server) for server in np.argsort(-problem.storage_bytes * users, kind="stable")]


def best_of_orders(
    problem: PlacementProblem,
    rng: np.random.Generator,
    orders: int,
    profile_of: ProfileOf = enumerated,
    knapsack: Knapsack = by_states,
    sweeps: int = 0,
    *,
    tie_break: bool = True,
) -> Placement:
    """The best of the decompositions by load and in random orders.

    Args:
        problem: The placement problem.
        rng: Source of the orders.
        orders: Number of random orders.
        profile_of: As in `decomposition`.
        knapsack: As in `decomposition`.
        sweeps: As in `decomposition`.
        tie_break: As in `decomposition`.
    """
    drawn = [rng.permutation(len(problem.storage_bytes)).tolist() for _ in range(orders)]
    tried = [
        decomposition(problem, profile_of, knapsack, order, sweeps, tie_break=tie_break) for order in (None, *drawn)
    ]
    return max(tried, key=problem.saving_s)
