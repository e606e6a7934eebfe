"""Storage: named items of known sizes in a limited number of bytes."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf


class Storage:
    """The storage of a node: items such as the weights of experts, each with a name and a size.

    Only sizes are kept, not the items themselves. Storing and deleting take no simulated time; the transfer by which an
    item is fetched does.
    """

    def __init__(self, node: str, capacity_bytes: float | None = None) -> None:
        """Create an empty storage.

        Args:
            node: name of the node, for messages.
            capacity_bytes: capacity in bytes; None is no limit.
        """
        self.node = node
        self.capacity_bytes = inf if capacity_bytes is None else capacity_bytes
        self._sizes_bytes: dict[Hashable, int] = {}

    @property
    def used_bytes(self) -> int:
        """Total size of all items."""
        return sum(self._sizes_bytes.values())

    def holds(self, name: Hashable) -> bool:
        """Return True if an item of this name is stored."""
        return name in self._sizes_bytes

    def put(self, name: Hashable, size_bytes: int) -> None:
        """Store an item of `size_bytes` bytes; it replaces an item of the same name.

        Raises ValueError, and changes nothing, if the size is negative or exceeds the free space.
        """
        if size_bytes < 0:
            raise ValueError(f"{name} cannot have {size_bytes} bytes; a size is not negative")
        others_bytes = self.used_bytes - self._sizes_bytes.get(name, 0)
        if others_bytes + size_bytes > self.capacity_bytes:
            raise ValueError(
                f"{name} of {size_bytes} bytes does not fit into {self.node}, "
                f"which has {self.capacity_bytes - others_bytes:.15g} of {self.capacity_bytes:.15g} bytes free"
            )
        self._sizes_bytes[name] = size_bytes

    def drop(self, name: Hashable) -> None:
        """Delete an item. Raises ValueError if no item of this name is stored."""
        if name not in self._sizes_bytes:
            raise ValueError(f"{self.node} does not hold {name}, so it cannot be dropped")
        del self._sizes_bytes[name]
