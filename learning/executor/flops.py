"""FLOPs and shapes of an operation from a run on meta tensors: the very function that does the work, without the work.

Convention: one multiply-add is two FLOPs; matrix products, convolutions and attention are counted, element-wise
arithmetic is not, unless an operation says so itself by `charge_elementwise`. What a protocol would not compute (a
forward pass repeated only because activations are not kept between two operations) stands under `uncharged()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.baddbmm}
CONVOLUTIONS = {torch.ops.aten.convolution, torch.ops.aten._convolution, torch.ops.aten.convolution_backward}


class CountFlops(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its dispatch modes untyped
    """Adds up the FLOPs of what runs inside it, and notes whether convolutions or thin products were among it."""

    active: list[CountFlops] = []  # noqa: RUF012  one stack for all: the innermost one counts

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.convolves = False
        self.thin = False
        """Whether a product of matrices is a mere row or column."""
        self.paused = 0

    def __enter__(self) -> CountFlops:
        CountFlops.active.append(self)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        CountFlops.active.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = func._overloadpacket
        self.convolves |= packet in CONVOLUTIONS
        self.thin |= packet in PRODUCTS and 1 in out.shape[-2:]
        if not self.paused and (formula := flop_registry.get(packet)):
            self.flops += formula(*args, **kwargs, out_val=out)
        return out


def charge_elementwise(flops_each: int, tree: Any) -> None:
    """Count element-wise work of the operation that calls this: a weighted sum of models, comparisons for a mask.

    Without effect where no FLOPs are being counted, that is, where the operation computes with numbers.

    Args:
        flops_each: FLOPs for each element.
        tree: tree of tensors whose elements are counted.
    """
    if CountFlops.active and not CountFlops.active[-1].paused:
        CountFlops.active[-1].flops += flops_each * sum(
            leaf.numel() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)
        )


@contextmanager
def uncharged() -> Iterator[None]:
    """Context in which operations are not charged, because the protocol has computed them before."""
    counter = CountFlops.active[-1] if CountFlops.active else None
    if counter:
        counter.paused += 1
    try:
        yield
    finally:
        if counter:
            counter.paused -= 1
