"""Codecs made of codecs: one after another on the same elements, or side by side on the parts of a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import register_pytree_node

from learning.codecs.codec import Codec, FixedWidth
from learning.codecs.sparse import Sparse
from learning.data.modalities import Modalities, differentiable


@dataclass(frozen=True)
class Chain:
    """Encodes what a sparse message keeps: `Chain(KeptWeights(pruning, 0.5), Uniform(8))`.

    Its size is that of the positions, and that of the kept elements as the second codec sends them. The receiver sees
    zeros where nothing was sent.
    """

    first: Sparse
    """Which elements are kept."""
    then: Codec
    """How the kept elements are sent. A codec with a range has that of the kept elements of a tensor."""

    @property
    def exact(self) -> bool:
        return self.then.exact

    @property
    def stochastic(self) -> bool:
        return self.then.stochastic

    def bits(self, tree: Any) -> int:
        return self.first.position_bits(tree) + self.then.bits(self.first.payload(tree))

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        # Shapes must not depend on values, so the mean of the kept elements, which widens no range, fills the gaps.
        keep = self.first.mask(x)
        mean = (x * keep).sum() / keep.sum().clamp(min=1)
        return torch.where(keep, self.then.roundtrip(torch.where(keep, x, mean), u), 0)


register_pytree_node(Chain, lambda chain: ([chain.first, chain.then], None), lambda leaves, _: Chain(*leaves))


@dataclass(frozen=True)
class Bundle:
    """A codec for each part of a message that is a tuple: `Bundle((Uniform(8), FixedWidth(4)))` for (z, labels)."""

    codecs: tuple[Codec, ...]
    """As many as the message has parts."""

    def bits(self, tree: Any) -> int:
        """Sum of the sizes of the parts. Raises ValueError where the message has more or fewer parts than codecs."""
        return sum(size_bits(codec, part) for codec, part in zip(self.codecs, tree, strict=True))


def size_bits(codec: Codec | Bundle, tree: Any) -> int:
    """Size of a message under a codec: of features of several modalities, their values and one bit a presence flag."""
    flags = FixedWidth(1).bits(tree.present) if isinstance(tree, Modalities) else 0
    return codec.bits(differentiable(tree)) + flags
