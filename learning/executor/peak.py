"""How much memory an operation needs at once, from the run on meta tensors that also counts its FLOPs."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its dispatch modes untyped
    """Notes when each tensor that is made inside it is used for the first and the last time.

    What the backward pass needs of the forward pass is used there again, so activations are in it. Memory is taken to
    be free after the last use.
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
        """The most that is held at once: operands all the time, results to the end, and what is made in between."""
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
