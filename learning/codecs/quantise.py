"""Quantising codecs: every element is rounded to a value that takes fewer bits."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor
from torch.utils._pytree import tree_leaves

from learning.codecs.codec import Codec, Identity

UNQUANTISED_BITS = 32
"""Number of bits of an element that means no quantisation, where a scenario gives a number of bits."""


@dataclass(frozen=True)
class Uniform:
    """Uniform quantiser between the smallest and the largest element; stochastic rounding makes it unbiased."""

    # Q(x) = low + s (floor(v) + Bernoulli(v - floor(v))), v = (x - low) / s, s = (high - low) / (2^bits - 1).

    bits_per_element: Annotated[int, Interval(ge=1, le=16)] = 8
    """Bits of one element. Messages without quantisation have the codec `identity`."""

    rounding: Literal["stochastic", "nearest"] = "stochastic"
    """Rounding to one of the two adjacent levels at random, so that the expectation is the value; or to the nearest."""

    range: Literal["tensor", "token"] = "tensor"
    """Elements that share a range: the whole tensor, or each vector along its last axis."""

    exact = False

    @property
    def stochastic(self) -> bool:
        return self.rounding == "stochastic"

    def bits(self, tree: Any) -> int:
        """`bits_per_element` for each element, plus two 32-bit numbers, scale and offset, for each range."""
        return sum(self.bits_per_element * leaf.numel() + 64 * self._ranges(leaf) for leaf in tree_leaves(tree))

    def _ranges(self, leaf: Tensor) -> int:
        return leaf.numel() // leaf.shape[-1] if self.range == "token" and leaf.ndim else 1

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        """As `Codec.roundtrip`. Raises ValueError where stochastic rounding lacks uniform numbers `u`."""
        low, scale = self._range(x)
        return low + scale * self.codes(x, u)

    def codes(self, x: Tensor, u: Tensor | None) -> Tensor:
        """The integers 0 ... 2^bits - 1 that are sent, in shape and dtype of `x`; zeros if all elements are equal.

        Args:
            x: the tensor that is sent.
            u: uniform numbers in [0, 1) in the shape of `x`, for stochastic rounding.
        """
        low, scale = self._range(x)
        level = (x - low) / torch.where(scale > 0, scale, 1)
        if not self.stochastic:
            return torch.clamp(torch.round(level), max=self.largest)
        if u is None or u.shape != x.shape:
            raise ValueError("the uniform quantiser needs one uniform number for each element")
        below = torch.floor(level)
        return torch.clamp(below + (u < level - below), max=self.largest)

    def _range(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest element, and distance between levels."""
        if self.range == "token" and x.ndim:
            low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
        else:
            low, high = x.amin(), x.amax()
        return low, (high - low) / self.largest

    @property
    def largest(self) -> int:
        """The largest code, 2^bits - 1."""
        return int(2**self.bits_per_element - 1)


def quantiser(
    bits: int,
    rounding: Literal["stochastic", "nearest"] = "stochastic",
    range: Literal["tensor", "token"] = "tensor",
) -> Codec:
    """The codec that sends an element in `bits` bits: `Uniform` for 1 to 16, `Identity` for UNQUANTISED_BITS (32).

    `rounding` and `range` are those of `Uniform`.
    """
    return Identity() if bits == UNQUANTISED_BITS else Uniform(bits, rounding, range)


@dataclass(frozen=True)
class Cast:
    """Rounds every element to a 16-bit floating-point format."""

    format: Literal["bfloat16", "float16"] = "bfloat16"
    """bfloat16 has the range of float32 and 8 significant bits; float16 has 11, but overflows beyond 65 504."""

    exact = False
    stochastic = False

    def bits(self, tree: Any) -> int:
        return sum(16 * leaf.numel() for leaf in tree_leaves(tree))

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        return x.to(getattr(torch, self.format)).to(x.dtype)
