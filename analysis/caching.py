"""Hit rates of caches of all sizes, from the sequence of expert calls that one run has recorded.

An eviction policy whose order of the items does not depend on the size of the cache has the inclusion property: what a
cache of C items holds is also held by one of C + 1. Then one pass over the requests gives the hits of all sizes, by the
position of each requested item in a stack whose first C items are those of the cache of size C.
Mattson, Gecsei, Slutz and Traiger, Evaluation techniques for storage hierarchies, IBM Systems Journal 9(2), 1970.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf
from typing import Protocol

import numpy as np
import pandas as pd

Rank = tuple[float, float]
"""Items are compared by their ranks; of the items of a cache the one of the lowest rank is evicted first."""


class Policy(Protocol):
    """An eviction policy, and what it knows of the requests."""

    bypasses: bool
    """Whether a requested item is stored only if its rank is above that of the evicted one; else it always is."""

    def request(self, position: int, item: Hashable) -> Rank:
        """Note a request, and return the rank of the item as long as it is to be stored."""
        ...

    def rank(self, item: Hashable) -> Rank:
        """The rank of an item that has been requested."""
        ...


class Lru:
    """Least recently used."""

    bypasses = False

    def __init__(self, requests: Sequence[Hashable]) -> None:
        self._last: dict[Hashable, int] = {}

    def request(self, position: int, item: Hashable) -> Rank:
        self._last[item] = position
        return self.rank(item)

    def rank(self, item: Hashable) -> Rank:
        return (self._last[item], 0)


class Lfu:
    """Least frequently used, of all requests; the least recently used among equals."""

    bypasses = False

    def __init__(self, requests: Sequence[Hashable]) -> None:
        self._count: dict[Hashable, int] = {}
        self._last: dict[Hashable, int] = {}

    def request(self, position: int, item: Hashable) -> Rank:
        self._count[item] = self._count.get(item, 0) + 1
        self._last[item] = position
        return self.rank(item)

    def rank(self, item: Hashable) -> Rank:
        return (self._count[item], self._last[item])


class LfuAdmission(Lfu):
    """LFU that stores an item only if it has more requests than the one that it evicts."""

    bypasses = True

    def request(self, position: int, item: Hashable) -> Rank:
        count, _ = super().request(position, item)
        return (count, -inf)


class Belady:
    """The item whose next request is the furthest ahead is evicted, or not stored: no policy has more hits."""

    bypasses = True

    def __init__(self, requests: Sequence[Hashable]) -> None:
        later: dict[Hashable, int] = {}
        self._ahead = [inf] * len(requests)  # position of the next request for the same item
        for position in range(len(requests) - 1, -1, -1):
            self._ahead[position] = later.get(requests[position], inf)
            later[requests[position]] = position
        self._next: dict[Hashable, float] = {}

    def request(self, position: int, item: Hashable) -> Rank:
        self._next[item] = self._ahead[position]
        return self.rank(item)

    def rank(self, item: Hashable) -> Rank:
        return (-self._next[item], 0)


POLICIES: dict[str, type[Lru] | type[Lfu] | type[LfuAdmission] | type[Belady]] = {
    "lru": Lru,
    "lfu": Lfu,
    "lfu_admission": LfuAdmission,
    "belady": Belady,
}


def hit_rate_curves(expert_calls: pd.DataFrame) -> pd.DataFrame:
    """Hit rates that a cache of each size would have had for the forward calls of a run, under each eviction policy.

    The cache is empty at first, and stores a missing expert before the next request: the curves leave out the time of
    fetching. They compare policies and sizes without a run of each. With several caches, pass the rows of the users of
    one of them.

    Args:
        expert_calls: rows of the table `expert_calls`.

    Returns:
        The share of requests that are hits: a row for each size from 1 to the number of experts called, in experts of
        equal size, a column for each of `POLICIES`.
    """
    rows = expert_calls[expert_calls["kind"] == "expert_forward"].sort_values("start_s", kind="stable")
    requests = list(zip(rows["layer"], rows["expert"], strict=True))
    sizes = range(1, len(set(requests)) + 1)
    curves = {name: hits(requests, policy(requests)) / max(len(requests), 1) for name, policy in POLICIES.items()}
    return pd.DataFrame(curves, index=pd.Index(sizes, name="experts"))


def hits(requests: Sequence[Hashable], policy: Policy) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Number of hits of a cache of 1, 2, ... items, as many as there are different ones."""
    stack: list[Hashable] = []
    at = np.zeros(len(set(requests)), dtype=np.int64)
    for position, item in enumerate(requests):
        depth = stack.index(item) if item in stack else len(stack)
        if depth < len(stack):
            at[depth] += 1
            del stack[depth]
        rank = policy.request(position, item)
        _place(stack, item, rank if policy.bypasses else (inf, inf), depth, policy)
    return at.cumsum()


def _place(stack: list[Hashable], item: Hashable, rank: Rank, depth: int, policy: Policy) -> None:
    """Put an item into the stack, in which it had `depth` items above it: at each size the lowest rank goes below."""
    for place in range(depth):
        above = policy.rank(stack[place])
        if rank > above:
            stack[place], item, rank = item, stack[place], above
    stack.insert(depth, item)
