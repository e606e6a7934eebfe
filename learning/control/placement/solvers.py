"""Placements by the best solver for a problem's size, and by brute force."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np

from learning.control.placement.decomposition import decomposition
from learning.control.placement.greedy import greedy
from learning.control.placement.knapsack import by_convolution
from learning.control.placement.problem import Booleans, Placement, PlacementProblem
from learning.control.placement.profiles import chained, enumerated

FEW_EXPERTS = 10
"""Experts in a layer up to which all their sets are enumerated by `auto`."""
MAX_TRIED = 100_000
"""Placements that brute force tries at most."""


def auto(problem: PlacementProblem, sweeps: int = 0) -> Placement:
    """The better of greedy and decomposition: the former is often better with K = 1, the latter with K >= 2.

    Args:
        problem: The placement problem.
        sweeps: Number of times that the decomposition solves all servers anew (default 0).

    Returns:
        (servers, layers, experts): True where a server caches an expert.
    """
    profile_of = enumerated if problem.shape[2] <= FEW_EXPERTS else chained
    tried = greedy(problem), decomposition(problem, profile_of, by_convolution, sweeps=sweeps)
    return max(tried, key=problem.saving_s)


def brute_force(problem: PlacementProblem) -> Placement:
    """The best placement, of all in which no server has room for another expert.

    Raises ValueError if there are more than `MAX_TRIED` of them, or more than 16 experts in all layers together.
    """
    caches = [maximal_caches(problem, int(storage)) for storage in problem.storage_bytes]
    count = prod(len(each) for each in caches)
    if count > MAX_TRIED:
        raise ValueError(f"brute force would try {count} placements; {MAX_TRIED} are the most")
    return max((np.array(each) for each in product(*caches)), key=problem.saving_s)


def maximal_caches(problem: PlacementProblem, storage_bytes: int) -> Booleans:
    """(caches, layers, experts): all sets of experts that fit into a storage and leave no room for another one."""
    sizes = problem.size_bytes.ravel()
    if len(sizes) > 16:
        raise ValueError(f"the sets of {len(sizes)} experts are too many for brute force; 16 experts are the most")
    sets = (np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes))) % 2 == 1
    free_bytes = storage_bytes - sets @ sizes
    smallest_absent = np.where(sets, np.inf, sizes).min(axis=1)
    maximal = sets[(free_bytes >= 0) & (smallest_absent > free_bytes)]
    return np.asarray(maximal.reshape(-1, *problem.size_bytes.shape), dtype=np.bool_)
