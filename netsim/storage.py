"""Storage: named contents of known sizes in a space of limited bytes."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf


class Storage:
    """The contents that a node holds, such as the weights of experts, each under a name of its own.

    Sizes alone are kept, not the contents. Storing and deleting take no simulated time; what is fetched to be stored
    takes the time of its transfer.
    """

    def __init__(self, node: str, capacity_bytes: float | None = None) -> None:
        """`node` is the name of the node in messages; `capacity_bytes` is its space in bytes, None is no limit."""
        self.node = node
        self.capacity_bytes = inf if capacity_bytes is None else capacity_bytes
        self._sizes_bytes: dict[Hashable, int] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes of all contents."""
        return sum(self._sizes_bytes.values())

    def holds(self, name: Hashable) -> bool:
        """Return whether there is a content of this name."""
        return name in self._sizes_bytes

    def put(self, name: Hashable, size_bytes: int) -> None:
        """Store a content of `size_bytes` bytes; one of the same name is replaced.

        Raises ValueError, and changes nothing, if the size is negative or there is not so much space.
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
        """Delete a content. Raises ValueError if there is none of this name."""
        if name not in self._sizes_bytes:
            raise ValueError(f"{self.node} does not hold {name}, so it cannot be dropped")
        del self._sizes_bytes[name]
