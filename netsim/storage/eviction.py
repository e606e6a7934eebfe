"""Eviction policies: which cached item gives way when another one needs its space."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

Priority = tuple[float, ...]
"""Priorities are compared number by number; the cached item of the lowest priority is evicted first."""


class History(Protocol):
    """What a policy remembers of the requests to one cache."""

    def request(self, name: Hashable) -> None:
        """Note a request for an item, whether it is held or not."""
        ...

    def priority(self, name: Hashable) -> Priority:
        """Priority of an item that has been requested at least once."""
        ...

    def admits(self, name: Hashable, victim: Hashable) -> bool:
        """Whether `victim` may be evicted so that `name`, which has just been requested, can be stored."""
        ...


class Eviction(Protocol):
    """Which cached items are evicted when space is needed. Items that were placed are never evicted."""

    def history(self) -> History:
        """Return the history of a cache before its first request."""
        ...


@dataclass(frozen=True)
class NoEviction:
    """No item is ever evicted: what does not fit into the free space is not stored."""

    def history(self) -> History:
        return _Forgetful()


class _Forgetful:
    """The history of a cache that never decides."""

    def request(self, name: Hashable) -> None:
        """Remembers nothing."""

    def priority(self, name: Hashable) -> Priority:
        return ()

    def admits(self, name: Hashable, victim: Hashable) -> bool:
        return False
