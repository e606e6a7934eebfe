"""What a codec is, and the codecs that change no value: they only say how large a message is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from annotated_types import Ge
from torch import Tensor
from torch.utils._pytree import tree_leaves


class Codec(Protocol):
    """How a message is written on the wire: its size, and what its receiver sees.

    The size of a message is asked with the shapes that are charged, which `charge_as` may make larger than those of the
    values that are sent. A codec therefore knows rates, widths and rules, and no absolute size.
    """

    @property
    def exact(self) -> bool:
        """Whether the receiver sees exactly what was sent; `roundtrip` is then never called."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether `roundtrip` needs one uniform number in [0, 1) for each element."""
        ...

    def bits(self, tree: Any) -> int:
        """Exact size of a message on the wire, side information included.

        Args:
            tree: the message: a tree of meta tensors (shapes and dtypes alone) and plain numbers.
        """
        ...

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        """What the receiver of one floating-point tensor sees.

        Args:
            x: the tensor that is sent, of any shape.
            u: uniform numbers in [0, 1) in the shape of `x` if the codec is stochastic; else it is not read.
        """
        ...


class Lossless(ABC):
    """Base of codecs that change no value; a subclass says how many bits a message takes."""

    exact = True
    stochastic = False

    @abstractmethod
    def bits(self, tree: Any) -> int:
        """As in `Codec`."""

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        return x


@dataclass(frozen=True)
class Identity(Lossless):
    """Sends every element as it is, at the size of its dtype."""

    def bits(self, tree: Any) -> int:
        return sum(8 * leaf.element_size() * leaf.numel() for leaf in tree_leaves(tree))


@dataclass(frozen=True)
class FixedWidth(Lossless):
    """Sends every number in a fixed count of bits that is enough for it: labels, signs, fields of a control message.

    Elements of tensors and plain Python numbers count alike.
    """

    bits_each: Annotated[int, Ge(0)] = 32
    """Bits of one number."""

    def bits(self, tree: Any) -> int:
        return self.bits_each * sum(leaf.numel() if isinstance(leaf, Tensor) else 1 for leaf in tree_leaves(tree))
