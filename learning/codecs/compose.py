"""Composition of codecs: one after another on the same elements, or one for each part of a message."""

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
    """Encodes the elements that a sparse message keeps: `Chain(KeptWeights(pruning, 0.5), Uniform(8))`.

    Its size is that of the positions, plus that of the kept elements as the second codec sends them. The receiver
    decodes zeros where nothing was sent.
    """

    first: Sparse
    """Which elements are kept."""
    then: Codec
    """Codec of the kept elements. A quantiser takes its range over the kept elements of a tensor."""

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
    """One codec for each part of the message, in their order."""

    @property
    def exact(self) -> bool:
        return all(codec.exact for codec in self.codecs)

    def bits(self, tree: Any) -> int:
        """Sum of the sizes of the parts. Raises ValueError where the message has more or fewer parts than codecs."""
        return sum(size_bits(codec, part) for codec, part in zip(self.codecs, tree, strict=True))


def size_bits(codec: Codec | Bundle, tree: Any) -> int:
    """Size in bits of a message under a codec.

    Args:
        codec: the codec of the message.
        tree: the message in meta tensors. Features of several modalities are charged one bit more for each presence
            flag.
    """
    flags = FixedWidth(1).bits(tree.present) if isinstance(tree, Modalities) else 0
    return codec.bits(differentiable(tree)) + flags
