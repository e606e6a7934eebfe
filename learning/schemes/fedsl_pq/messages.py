"""How FedSL-PQ's messages lie on the wire, as its message table counts them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import Any, Literal

from torch.utils._pytree import tree_leaves

from learning.data import Rows
from learning.draws import Draw
from learning.executor.deferred import specification
from learning.reducers.dropout import Dropout
from learning.reducers.pruning import Pruning

SEED_BITS = 64
"""Seed of a dropout mask: the server draws it again."""
SCALE_BITS = 64
"""Offset and scale of a quantised tensor."""


@dataclass(frozen=True)
class Sparse:
    """Some elements of a tensor: of a larger one that stands for it, the same share."""

    kept: int
    of: int
    element_bits: int | None = None
    """Of an element that is sent (default: as it is)."""
    beside_bits: int = 0
    """Whatever is sent along."""
    bitmap: bool = False
    """Whether a bit for each element tells which are kept."""

    def bits(self, tree: Any) -> int:
        (tensor,) = tree_leaves(tree)
        each = 8 * tensor.itemsize if self.element_bits is None else self.element_bits
        count = int(tensor.numel())
        return each * (self.kept * count // self.of) + self.beside_bits + (count if self.bitmap else 0)


@dataclass(frozen=True)
class Pruned:
    """The weights kept and, where any is removed, a bit for each weight that tells which."""

    pruning: Pruning
    rate: float

    def bits(self, tree: Any) -> int:
        leaves, removed = tree_leaves(tree), self.pruning.removed(tree, self.rate)
        count = sum(int(leaf.numel()) for leaf in leaves)
        return 8 * int(leaves[0].itemsize) * (count - removed) + (count if removed else 0)


def kept(dropout: Dropout, z: Any, u: Draw | None) -> int:
    """How many activations of a mini-batch survive dropout, counted from the very draw that decides."""
    shape = tuple(specification(z).tree.shape)
    return specification(z).numel if u is None else dropout.kept(u, shape)


def smashed_data(
    dropout: Dropout, mask_coding: Literal["seed", "bitmap"], z: Any, y: Rows, classes: int, u: Draw | None
) -> Sparse:
    """Kept activations, labels of ceil(log2 classes) bits, and what tells the server which activations were kept."""
    labels, bitmap = y.meta.numel() * ceil(log2(classes)), u is not None and mask_coding == "bitmap"
    seed = 0 if u is None or bitmap else SEED_BITS
    return Sparse(kept(dropout, z, u), specification(z).numel, beside_bits=labels + seed, bitmap=bitmap)


def cut_gradient(dropout: Dropout, bits: int | None, dz: Any, u: Draw | None) -> Sparse:
    """The gradient on the kept positions: plain (`bits` is None), or quantised with its scale and offset."""
    return Sparse(kept(dropout, dz, u), specification(dz).numel, bits, 0 if bits is None else SCALE_BITS)
