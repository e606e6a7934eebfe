"""Codecs that round: fewer bits for every element, and values that differ a little from those sent."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor
from torch.utils._pytree import tree_leaves

from learning.codecs.codec import Codec, Identity

UNQUANTISED_BITS = 32
"""Bits of an element that stand for no quantisation where a scenario asks for a number of bits."""


@dataclass(frozen=True)
class Uniform:
    """Uniform quantiser between the least and the largest element; rounding at random makes it unbiased."""

    # Q(x) = low + s (floor(v) + Bernoulli(v - floor(v))), v = (x - low) / s, s = (high - low) / (2^bits - 1).

    bits_per_element: Annotated[int, Interval(ge=1, le=16)] = 8
    """Bits of one element. For unquantised messages choose the codec `identity`."""

    rounding: Literal["stochastic", "nearest"] = "stochastic"
    """To one of the two nearest levels at random, so that the mean is right; or to the nearest."""

    range: Literal["tensor", "token"] = "tensor"
    """What shares a least and a largest element: the whole tensor, or each vector along its last axis."""

    exact = False

    @property
    def stochastic(self) -> bool:
        return self.rounding == "stochastic"

    def bits(self, tree: Any) -> int:
        """`bits_per_element` for each element and two 32-bit numbers, scale and offset, for each range."""
        return sum(self.bits_per_element * leaf.numel() + 64 * self._ranges(leaf) for leaf in tree_leaves(tree))

    def _ranges(self, leaf: Tensor) -> int:
        return leaf.numel() // leaf.shape[-1] if self.range == "token" and leaf.ndim else 1

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        """Raises ValueError where rounding at random lacks uniform numbers `u` of the shape of `x`."""
        low, scale = self._range(x)
        return low + scale * self.codes(x, u)

    def codes(self, x: Tensor, u: Tensor | None) -> Tensor:
        """The integers 0 ... 2^bits - 1 that go on the wire, in the dtype of `x`; zeros if all elements are equal."""
        low, scale = self._range(x)
        level = (x - low) / torch.where(scale > 0, scale, 1)
        if not self.stochastic:
            return torch.clamp(torch.round(level), max=self.largest)
        if u is None or u.shape != x.shape:
            raise ValueError("the uniform quantiser needs one uniform number for each element")
        below = torch.floor(level)
        return torch.clamp(below + (u < level - below), max=self.largest)

    def _range(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Least element, and distance between levels."""
        if self.range == "token" and x.ndim:
            low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
        else:
            low, high = x.amin(), x.amax()
        return low, (high - low) / self.largest

    @property
    def largest(self) -> int:
        """The largest code."""
        return int(2**self.bits_per_element - 1)


def quantiser(
    bits: int,
    rounding: Literal["stochastic", "nearest"] = "stochastic",
    range: Literal["tensor", "token"] = "tensor",
) -> Codec:
    """The codec that sends an element in so many bits (1 to 16): `Uniform`, or `Identity` for UNQUANTISED_BITS."""
    return Identity() if bits == UNQUANTISED_BITS else Uniform(bits, rounding, range)


@dataclass(frozen=True)
class Cast:
    """Rounds every element to a 16-bit floating-point format."""

    format: Literal["bfloat16", "float16"] = "bfloat16"
    """bfloat16 has the range of 32 bits and 8 significant bits; float16 has 11, but becomes infinite beyond 65 504."""

    exact = False
    stochastic = False

    def bits(self, tree: Any) -> int:
        return sum(16 * leaf.numel() for leaf in tree_leaves(tree))

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        return x.to(getattr(torch, self.format)).to(x.dtype)
