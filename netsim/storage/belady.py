"""Belady's optimal policy, which knows all requests in advance: the reference for the policies that do not."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from math import inf

from netsim.storage.eviction import History, Priority


@dataclass(frozen=True)
class Belady:
    """The item whose next request is the furthest ahead is evicted; one requested still later is not stored.

    No policy has fewer misses if all items have the same size and a requested item need not be stored. A run does
    not know its future requests, so scenarios cannot name this policy: `replay` a recorded or drawn sequence with it.
    Belady, A study of replacement algorithms for a virtual-storage computer, IBM Systems Journal 5(2), 1966.
    """

    requests: tuple[Hashable, ...]
    """Names of the requested items, in order."""

    def history(self) -> History:
        return _Future(self.requests)


class _Future:
    """The requests that are still to come."""

    def __init__(self, requests: tuple[Hashable, ...]) -> None:
        self._ahead: dict[Hashable, deque[int]] = {}
        for position, name in enumerate(requests):
            self._ahead.setdefault(name, deque()).append(position)
        self._position = 0

    def request(self, name: Hashable) -> None:
        ahead = self._ahead.get(name)
        if not ahead or ahead[0] != self._position:
            raise ValueError(f"request {self._position} is for {name}, which is not the one known in advance")
        ahead.popleft()
        self._position += 1

    def priority(self, name: Hashable) -> Priority:
        return (-self._next(name),)

    def admits(self, name: Hashable, victim: Hashable) -> bool:
        return self._next(name) < self._next(victim)

    def _next(self, name: Hashable) -> float:
        """Position of the next request for an item; inf is never."""
        ahead = self._ahead.get(name)
        return ahead[0] if ahead else inf
