"""Peak memory of an operation, from the operators that it consists of."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from learning.executor.operators import place, tensors


class PeakMemory:
    """When the memory of each tensor of an operation is used for the first and the last time.

    Activations that the backward pass needs are used again there, so they are included. Memory is assumed to be free
    after the last use.
    """

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._made: dict[int, Tensor] = {}
        """The first tensor at each place, which keeps its memory from being given to others."""
        self._now = 0

    def record(self, *values: Any) -> None:
        """Note that an operator uses, or makes, the tensors in these values."""
        for tensor in tensors(values):
            where = place(tensor)
            if where not in self._made:
                self._made[where], self._first[where] = tensor, self._now
            self._last[where] = self._now
        self._now += 1

    def bytes(self, operands: Any, results: Any) -> int:
        """Peak memory in bytes: operands all the time, results to the end, and intermediate tensors while needed."""
        own = tensors(tree_leaves(operands))
        given, kept = {place(leaf) for leaf in own}, {place(leaf): leaf for leaf in tensors(tree_leaves(results))}
        change: Counter[int] = Counter()
        for where, tensor in (kept | self._made).items():
            if where not in given:
                size_bytes = tensor.untyped_storage().nbytes()
                change[self._first.get(where, self._now)] += size_bytes
                change[self._now + 1 if where in kept else self._last[where] + 1] -= size_bytes
        held = accumulate(change[moment] for moment in sorted(change))
        return sum(leaf.numel() * leaf.itemsize for leaf in own) + max(held, default=0)
