"""Storage: named items of known sizes in a limited number of bytes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import inf

from netsim.storage.eviction import Eviction, NoEviction


@dataclass(frozen=True)
class Stored:
    """What became of an item that was to be cached."""

    stored: bool
    """Whether it is held now."""
    evicted: tuple[Hashable, ...] = ()
    """Names of the items that were deleted for it, in order of eviction."""


class Storage:
    """The storage of a node: items such as the weights of experts, each with a name and a size.

    An item is either placed (`put`) and stays until it is dropped, or cached (`store`) and may be evicted for others.
    Only sizes are kept, not the items themselves. Storing and deleting take no simulated time; the transfer by which an
    item is fetched does.
    """

    def __init__(
        self,
        node: str,
        capacity_bytes: float | None = None,
        eviction: Eviction = NoEviction(),  # noqa: B008 (frozen)
    ) -> None:
        """Create an empty storage.

        Args:
            node: name of the node, for messages.
            capacity_bytes: capacity in bytes; None is no limit.
            eviction: which cached items are evicted when space is needed.
        """
        self.node = node
        self.capacity_bytes = inf if capacity_bytes is None else capacity_bytes
        self._sizes_bytes: dict[Hashable, int] = {}
        self._cached: dict[Hashable, None] = {}  # an ordered set
        self._history = eviction.history()

    @property
    def used_bytes(self) -> int:
        """Total size of all items."""
        return sum(self._sizes_bytes.values())

    def holds(self, name: Hashable) -> bool:
        """Return True if an item of this name is stored."""
        return name in self._sizes_bytes

    def request(self, name: Hashable) -> bool:
        """Note a request for an item, which its eviction policy takes into account, and return whether it is held."""
        self._history.request(name)
        return self.holds(name)

    def put(self, name: Hashable, size_bytes: int) -> None:
        """Place an item of `size_bytes` bytes, which is never evicted; it replaces an item of the same name.

        Raises ValueError, and changes nothing, if the size is negative or exceeds the free space.
        """
        free_bytes = self._free_bytes(name, size_bytes)
        if size_bytes > free_bytes:
            raise ValueError(
                f"{name} of {size_bytes} bytes does not fit into {self.node}, "
                f"which has {free_bytes:.15g} of {self.capacity_bytes:.15g} bytes free"
            )
        self._sizes_bytes[name] = size_bytes
        self._cached.pop(name, None)

    def store(self, name: Hashable, size_bytes: int) -> Stored:
        """Cache an item of `size_bytes` bytes that has been requested, if the eviction policy makes room for it.

        An item that is held already stays as it is. Raises ValueError if the size is negative.
        """
        if self.holds(name):
            return Stored(True)
        victims = self.victims(name, size_bytes)
        if victims is None:
            return Stored(False)
        for victim in victims:
            self.drop(victim)
        self._sizes_bytes[name] = size_bytes
        self._cached[name] = None
        return Stored(True, victims)

    def victims(self, name: Hashable, size_bytes: int) -> tuple[Hashable, ...] | None:
        """Return what would be evicted for an item that is not held; None if it would not be stored.

        Items are evicted by ascending priority until there is room, and only if the policy admits each eviction.
        """
        free_bytes, victims = self._free_bytes(name, size_bytes), []
        for victim in sorted(self._cached, key=self._history.priority) if size_bytes > free_bytes else ():
            if not self._history.admits(name, victim):
                return None
            victims.append(victim)
            free_bytes += self._sizes_bytes[victim]
            if size_bytes <= free_bytes:
                break
        return tuple(victims) if size_bytes <= free_bytes else None

    def drop(self, name: Hashable) -> None:
        """Delete an item. Raises ValueError if no item of this name is stored."""
        if name not in self._sizes_bytes:
            raise ValueError(f"{self.node} does not hold {name}, so it cannot be dropped")
        del self._sizes_bytes[name]
        self._cached.pop(name, None)

    def _free_bytes(self, name: Hashable, size_bytes: int) -> float:
        """Return the bytes that other items leave free. Raises ValueError if the size of `name` is negative."""
        if size_bytes < 0:
            raise ValueError(f"{name} cannot have {size_bytes} bytes; a size is not negative")
        return self.capacity_bytes - (self.used_bytes - self._sizes_bytes.get(name, 0))
