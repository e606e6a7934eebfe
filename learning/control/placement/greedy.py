"""Greedy placement: add the pair of expert and server with the largest saving per byte, again and again.

With K = 1 the saving is monotone and submodular, which gives these fractions of the optimum:

- 1/2 where all experts have one size [Fisher, Nemhauser, Wolsey, Math. Programming Study 8, 1978: partition matroid];
- (1 - 1/e) / 2 for one server, as the better of greedy and best single expert [Leskovec et al., KDD 2007];
- 1 - 1/e for one server, with all sets of three to begin with [Sviridenko, Operations Research Letters 32, 2004].

With K >= 2 there is no guarantee: of experts that are activated together, one alone saves nothing.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from learning.control.placement.potential import potential_s
from learning.control.placement.problem import Floats, Placement, PlacementProblem


def single_savings_s(problem: PlacementProblem, access_s: Floats, layer: int) -> Floats:
    """Saving by each single expert of a layer at each server, in addition to what is cached.

    A token's latency falls only if the slowest of its K experts becomes faster, and at most to the second slowest.

    Args:
        problem: The placement problem.
        access_s: (users, layers, experts): present times of access, in s.
        layer: Number of the layer.

    Returns:
        (servers, experts): saving in s.
    """
    (servers, _, experts), rows = problem.shape, problem.rows[layer]
    user, chosen = problem.activations.user[rows], problem.activations.experts[rows]
    times_s = access_s[user[:, None], layer, chosen]
    slowest = times_s.argmax(axis=1)[:, None]
    slowest_s = np.take_along_axis(times_s, slowest, axis=1)
    np.put_along_axis(times_s, slowest, -np.inf, axis=1)
    next_s = np.maximum(times_s.max(axis=1, keepdims=True), problem.server_s[user])
    saved_s = problem.activations.probability[rows, None] * np.maximum(slowest_s - next_s, 0.0)
    pairs = np.take_along_axis(chosen, slowest, axis=1) + experts * np.arange(servers)
    total_s = np.bincount(pairs.ravel(), weights=saved_s.ravel(), minlength=servers * experts)
    return np.asarray(total_s, dtype=np.float64).reshape(servers, experts)


def extended(problem: PlacementProblem, start: Placement) -> Placement:
    """Extend a placement by the expert that saves most per byte and fits, until none fits or helps.

    Of those that save the same, or nothing, the one with the largest potential is added. Only the savings in the layer
    of the last addition are computed anew, which is exact for every K. Raises ValueError if `start` does not fit.
    """
    if not problem.feasible(start):
        raise ValueError("the placement to begin with exceeds the storage of a server")
    placement, access_s = start.copy(), problem.access_s(start)
    free_bytes = problem.storage_bytes - problem.used_bytes(start)
    layers = range(problem.shape[1])
    savings_s = np.stack([single_savings_s(problem, access_s, layer) for layer in layers], axis=1)
    tie_s = potential_s(problem) * ~start.any(axis=0)
    size_bytes = np.maximum(problem.size_bytes, 1e-9)  # an expert without parameters takes no storage
    while True:
        fits = ~placement & (problem.size_bytes <= free_bytes[:, None, None])
        ratio = np.where(fits, (savings_s + tie_s) / size_bytes, 0.0)
        server, layer, expert = np.unravel_index(int(ratio.argmax()), ratio.shape)
        if ratio[server, layer, expert] <= 0:
            return placement
        placement[server, layer, expert] = True
        free_bytes[server] -= problem.size_bytes[layer, expert]
        tie_s[layer, expert] = 0.0
        access_s[:, layer, expert] = np.minimum(access_s[:, layer, expert], problem.server_s[:, server])
        savings_s[:, layer] = single_savings_s(problem, access_s, int(layer))


def greedy(problem: PlacementProblem, seeds: int = 0) -> Placement:
    """The best of greedy placements that begin with nothing, or with few experts, and of the best single expert.

    Args:
        problem: The placement problem.
        seeds: Largest number of pairs of server and expert in the sets that the algorithm begins with (partial
            enumeration). 0 (default) is the plain algorithm. The guarantee of 1 - 1/e needs 3; the time then grows with
            the third power of servers x layers x experts.

    Returns:
        (servers, layers, experts): True where a server caches an expert.
    """
    candidates = [extended(problem, problem.empty()), best_single(problem)]
    pairs = list(np.ndindex(problem.shape))
    for count in range(1, seeds + 1):
        for chosen in combinations(pairs, count):
            start = problem.empty()
            start[tuple(np.array(chosen).T)] = True
            if problem.feasible(start):
                candidates.append(extended(problem, start))
    return max(candidates, key=problem.saving_s)


def best_single(problem: PlacementProblem) -> Placement:
    """The placement of a single expert at a single server that saves most, among those that fit."""
    layers, placement = range(problem.shape[1]), problem.empty()
    savings_s = np.stack([single_savings_s(problem, problem.uncached_s, layer) for layer in layers], axis=1)
    savings_s[problem.size_bytes > problem.storage_bytes[:, None, None]] = 0.0
    if savings_s.any():
        placement[np.unravel_index(int(savings_s.argmax()), savings_s.shape)] = True
    return placement
