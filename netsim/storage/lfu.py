"""LFU: the least frequently used item is evicted; with decay of old requests, and with admission."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt

from netsim.storage.eviction import History, Priority
from netsim.storage.lru import Recency


@dataclass(frozen=True)
class Lfu:
    """Least frequently used: the item with the fewest requests is evicted, the least recently used among equals.

    Requests for items that are not held count too (perfect LFU: Breslau et al., INFOCOM 1999). What is requested is
    always stored, however rarely that happens.
    """

    half_life_requests: Annotated[float, Gt(0)] | None = None
    """After so many requests to the cache a request counts half; null counts all requests equally."""

    def history(self) -> History:
        return Frequency(self.half_life_requests)


@dataclass(frozen=True)
class LfuAdmission:
    """LFU that stores an item only if it has more requests than each item that it would evict.

    The admission rule of TinyLFU (Einziger, Friedman and Manes, ACM Transactions on Storage 13(4), 2017), with exact
    counts in place of a sketch.
    """

    half_life_requests: Annotated[float, Gt(0)] | None = None
    """After so many requests to the cache a request counts half; null counts all requests equally."""

    def history(self) -> History:
        return FrequencyWithAdmission(self.half_life_requests)


class Frequency(Recency):
    """How often each item was requested, old requests counting less."""

    def __init__(self, half_life_requests: float | None) -> None:
        super().__init__()
        self._decay = 1.0 if half_life_requests is None else 0.5 ** (1 / half_life_requests)
        self._counts: dict[Hashable, tuple[float, int]] = {}  # a count, and the request after which it was that

    def request(self, name: Hashable) -> None:
        super().request(name)
        self._counts[name] = (self.count(name) + 1, self.requests)

    def count(self, name: Hashable) -> float:
        """Number of requests for an item, each weighted by 0.5 to the power of its age in half-lives."""
        count, since = self._counts.get(name, (0.0, 0))
        return count * self._decay ** (self.requests - since)

    def priority(self, name: Hashable) -> Priority:
        return (self.count(name), *super().priority(name))


class FrequencyWithAdmission(Frequency):
    """The same, and only the more frequent item evicts another."""

    def admits(self, name: Hashable, victim: Hashable) -> bool:
        return self.count(name) > self.count(victim)
