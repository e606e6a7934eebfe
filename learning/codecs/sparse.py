"""Codecs of sparse messages: only the kept elements are sent, with information about their positions."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._pytree import register_pytree_node, tree_leaves

from learning.codecs.codec import Identity, Lossless
from learning.draws import Draw
from learning.reducers.dropout import Dropout
from learning.reducers.pruning import Pruning

SEED_BITS = 64
"""Size of the seed of a random mask, from which the receiver draws the mask again."""


class Sparse(Lossless):
    """Base of codecs that send the kept elements as they are, and information about their positions.

    Elements that are not kept must be zero, or not be read by the receiver. In a `Chain`, the second codec encodes the
    kept elements.
    """

    @abstractmethod
    def kept(self, tree: Any) -> int:
        """Number of elements of a message that are sent; `tree` is the message in meta tensors."""

    @abstractmethod
    def position_bits(self, tree: Any) -> int:
        """Bits from which the receiver learns the positions of the elements; `tree` is the message in meta tensors."""

    @abstractmethod
    def mask(self, x: Tensor) -> Tensor:
        """Which elements of one tensor are sent: a boolean tensor in the shape of `x`."""

    def payload(self, tree: Any) -> Tensor:
        """The elements that are sent, as a meta tensor of shape (kept,)."""
        return torch.empty(self.kept(tree), dtype=tree_leaves(tree)[0].dtype, device="meta")

    def bits(self, tree: Any) -> int:
        return self.position_bits(tree) + Identity().bits(self.payload(tree))


@dataclass(frozen=True, eq=False)
class KeptActivations(Sparse):
    """Sends the activations of a mini-batch that dropout keeps, or their gradients.

    A draw determines which elements of one tensor are kept; of a larger tensor that is charged in its place, the same
    share is kept. For an executor the codec is a tree, of which the draw is an operand.
    """

    dropout: Dropout
    """The dropout."""
    u: Draw | Tensor
    """Uniform numbers of the dropout, in the shape `dropout.draw_shape(shape of the activations)`."""
    positions: Literal["seed", "bitmap", "known"] = "known"
    """How the receiver learns the positions: from the seed of the mask, from a bit for each activation, or nothing is
    sent because it has them already."""

    def kept(self, tree: Any) -> int:
        (tensor,) = tree_leaves(tree)
        u = self.u.tensor() if isinstance(self.u, Draw) else self.u
        return int(self.dropout.mask(u).sum()) * int(tensor.numel()) // u.numel()

    def position_bits(self, tree: Any) -> int:
        (tensor,) = tree_leaves(tree)
        return {"seed": SEED_BITS, "bitmap": int(tensor.numel()), "known": 0}[self.positions]

    def mask(self, x: Tensor) -> Tensor:
        assert isinstance(self.u, Tensor), "an executor gives the numbers of a draw to an operation"
        return self.dropout.mask(self.u).expand_as(x)


register_pytree_node(
    KeptActivations,
    lambda kept: ([kept.dropout, kept.u, kept.positions], None),
    lambda leaves, _: KeptActivations(*leaves),
)


@dataclass(frozen=True)
class KeptWeights(Sparse):
    """Sends the weights of a model that pruning keeps and, where it removes any, a bitmap of all weights."""

    pruning: Pruning
    """The pruning, which determines which weights can be removed."""
    rate: float
    """Share of the prunable weights that is removed, in [0, 1)."""

    def kept(self, tree: Any) -> int:
        return _count(tree) - self.pruning.removed(tree, self.rate)

    def position_bits(self, tree: Any) -> int:
        return _count(tree) if self.pruning.removed(tree, self.rate) else 0

    def mask(self, x: Tensor) -> Tensor:
        return x != 0


def _count(tree: Any) -> int:
    return sum(int(leaf.numel()) for leaf in tree_leaves(tree))
