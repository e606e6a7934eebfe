"""FLOPs of an operation, added up as it runs on meta tensors: the very function that does the work, without the work.

Convention: one multiply-add is two FLOPs; matrix products, convolutions and attention are counted, element-wise
arithmetic is not, unless an operation says so itself by `charge_elementwise`. What a protocol would not compute (a
forward pass repeated only because activations are not kept between two operations) stands under `uncharged()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves


class FlopCount:
    """The FLOPs of an operation that is running."""

    active: list[FlopCount] = []  # noqa: RUF012  one stack for all: the innermost one counts

    def __init__(self) -> None:
        self.flops = 0
        self.paused = 0
        """How many `uncharged` contexts are open."""

    def add(self, flops: int) -> None:
        """Count FLOPs, unless they are uncharged."""
        if not self.paused:
            self.flops += flops


def charge_elementwise(flops_each: int, tree: Any) -> None:
    """Count element-wise work of the operation that calls this: a weighted sum of models, comparisons for a mask.

    Without effect where no FLOPs are being counted, that is, where the operation computes with numbers.

    Args:
        flops_each: FLOPs for each element.
        tree: tree of tensors whose elements are counted.
    """
    if FlopCount.active:
        elements = sum(leaf.numel() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
        FlopCount.active[-1].add(flops_each * elements)


@contextmanager
def uncharged() -> Iterator[None]:
    """Context in which operations are not charged, because the protocol has computed them before."""
    counter = FlopCount.active[-1] if FlopCount.active else None
    if counter:
        counter.paused += 1
    try:
        yield
    finally:
        if counter:
            counter.paused -= 1
