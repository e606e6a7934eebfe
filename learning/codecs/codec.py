"""The interface of codecs, and lossless codecs, which only determine the size of a message."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from annotated_types import Ge
from torch import Tensor
from torch.utils._pytree import tree_leaves


class Codec(Protocol):
    """Encoding of a message on the wire: its size in bits, and what its receiver decodes.

    The size is computed for the shapes that are charged, which `charge_as` may make larger than those of the values
    that are sent. A codec is therefore described by rates, bit widths and rules, and by no absolute size.
    """

    @property
    def exact(self) -> bool:
        """Whether the receiver decodes exactly what was sent; `roundtrip` is then never called."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether `roundtrip` needs one uniform number in [0, 1) for each element."""
        ...

    def bits(self, tree: Any) -> int:
        """Exact size of a message on the wire, side information included.

        It depends on nothing but the fields of the codec and the shapes: equal codecs are asked once for equal shapes.

        Args:
            tree: the message: a tree of meta tensors (shapes and dtypes alone) and plain numbers.
        """
        ...

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        """One floating-point tensor as its receiver decodes it: encoded and decoded.

        Args:
            x: the tensor that is sent, of any shape.
            u: uniform numbers in [0, 1) in the shape of `x` if the codec is stochastic; otherwise not used.

        Returns:
            A tensor in the shape and dtype of `x`.
        """
        ...


class Lossless(ABC):
    """Base of codecs that change no value; a subclass computes the size of a message in `bits`."""

    exact = True
    stochastic = False

    @abstractmethod
    def bits(self, tree: Any) -> int:
        """Exact size of a message on the wire; as `Codec.bits`."""

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        return x


@dataclass(frozen=True)
class Identity(Lossless):
    """Sends every element unchanged, with the bits of its dtype."""

    def bits(self, tree: Any) -> int:
        return sum(8 * leaf.element_size() * leaf.numel() for leaf in tree_leaves(tree))


@dataclass(frozen=True)
class FixedWidth(Lossless):
    """Sends every number in a fixed number of bits that is enough for it: labels, signs, fields of a control message.

    Elements of tensors and plain Python numbers count alike.
    """

    bits_each: Annotated[int, Ge(0)] = 32
    """Bits of one number."""

    def bits(self, tree: Any) -> int:
        return self.bits_each * sum(leaf.numel() if isinstance(leaf, Tensor) else 1 for leaf in tree_leaves(tree))
