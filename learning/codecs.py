"""Codecs: what a message weighs on the wire and what its receiver sees, both in one small class."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.utils._pytree import tree_leaves


class Codec(Protocol):
    """A described way to put tensors on the wire."""

    @property
    def exact(self) -> bool:
        """Whether the receiver sees exactly what was sent."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether `roundtrip` needs one uniform number in [0, 1) for each element."""
        ...

    def bits(self, tree: Any) -> int:
        """Exact size on the wire, side information included, of a tree of (meta) tensors, from its shapes alone."""
        ...

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        """What the receiver of `x` sees; `u` has the shape of `x` if the codec is stochastic, else it is not read."""
        ...


@dataclass(frozen=True)
class Identity:
    """Sends every element as it is, at the size of its dtype."""

    exact = True
    stochastic = False

    def bits(self, tree: Any) -> int:
        return sum(8 * leaf.element_size() * leaf.numel() for leaf in tree_leaves(tree))

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        return x


CODECS: dict[str, type] = {"identity": Identity}
