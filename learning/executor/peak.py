"""Peak memory of an operation, from the run on meta tensors that also counts its FLOPs."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its dispatch modes untyped
    """Records when each tensor that is created inside it is used for the first and the last time.

    Activations that the backward pass needs are used again there, so they are included. Memory is assumed to be free
    after the last use.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._seen: list[Tensor] = []
        """Keeps places in memory from being given to others."""
        self._now = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors((args, kwargs, out)):
            self._seen.append(tensor)
            place = _place(tensor)
            self._first.setdefault(place, self._now)
            self._last[place] = self._now
        self._now += 1
        return out

    def bytes(self, operands: Any, results: Any) -> int:
        """Peak memory in bytes: operands all the time, results to the end, and intermediate tensors while needed."""
        given, kept = ({_place(leaf) for leaf in _tensors(tree)} for tree in (operands, results))
        made = {_place(tensor): tensor.untyped_storage().nbytes() for tensor in self._seen + _tensors(results)}
        change: Counter[int] = Counter()
        for place in made.keys() - given:
            change[self._first.get(place, self._now)] += made[place]
            change[self._now + 1 if place in kept else self._last[place] + 1] -= made[place]
        held = accumulate(change[moment] for moment in sorted(change))
        return sum(leaf.numel() * leaf.itemsize for leaf in _tensors(operands)) + max(held, default=0)


def _tensors(tree: Any) -> list[Tensor]:
    """Those that have memory; a wrapper left over by `torch.func`, in a module that was built within it, has none."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and torch._C._has_storage(leaf)]


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
