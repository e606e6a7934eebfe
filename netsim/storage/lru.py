"""LRU: the least recently used item is evicted."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from netsim.storage.eviction import History, Priority


@dataclass(frozen=True)
class Lru:
    """Least recently used: the item whose last request is the longest ago is evicted.

    What a cache of C items of equal size holds is also held by one of C + 1.
    Mattson et al., Evaluation techniques for storage hierarchies, IBM Systems Journal 9(2), 1970.
    """

    def history(self) -> History:
        return Recency()


class Recency:
    """When each item was last requested, counted in requests."""

    def __init__(self) -> None:
        self.requests = 0
        self._last: dict[Hashable, int] = {}

    def request(self, name: Hashable) -> None:
        self.requests += 1
        self._last[name] = self.requests

    def priority(self, name: Hashable) -> Priority:
        return (self._last[name],)

    def admits(self, name: Hashable, victim: Hashable) -> bool:
        return True
