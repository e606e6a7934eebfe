"""The analogue wire: elements as amplitudes of uncoded symbols, which arrive in constant time and with noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import inf, log10
from statistics import fmean
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor
from torch.utils._pytree import register_pytree_node, tree_leaves

from learning.codecs.codec import Codec
from learning.codecs.compose import Bundle
from learning.data.modalities import differentiable
from learning.executor.deferred import Leaf

Decibels = Annotated[float, Interval(ge=-100, le=200)]


@dataclass(frozen=True)
class Analogue:
    """Sends each element as a symbol without coding; white Gaussian noise is added to every sample.

    The power of the noise is that of the sample divided by the SNR. Airtime is the number of symbols over twice the
    bandwidth, whatever the SNR. For messages from users to servers, in a band with fidelity `flow`.
    """

    # y = x + n, n ~ N(0, P / SNR), P the mean of x^2 over a sample. The noise is a constant to the backward pass.
    # Deep joint source-channel coding: Bourtsoulatze et al., IEEE TCCN 2019.

    snr_db: Decibels | Literal["link", "noiseless"] = "link"
    """Signal-to-noise ratio in dB: a number, or that of the link averaged over the message's airtime; or no noise."""

    spread_db: Annotated[float, Interval(ge=0, le=100)] = 0.0
    """Each message's SNR is drawn uniformly within this distance of `snr_db`, in dB; 0 draws none."""

    def __post_init__(self) -> None:
        if self.spread_db and isinstance(self.snr_db, str):
            raise ValueError("spread_db needs a number as snr_db, around which it draws")

    @property
    def exact(self) -> bool:
        return self.snr_db == "noiseless"

    @property
    def stochastic(self) -> bool:
        return not self.exact

    def bits(self, tree: Any) -> int:
        """No bits: the message consists of `symbols`."""
        return 0

    def symbols(self, tree: Any) -> int:
        """Real symbols of a message in meta tensors: one for each element."""
        return sum(leaf.numel() for leaf in tree_leaves(tree))

    def ratio(self, link: float, u: float) -> float:
        """The SNR of a message as a plain ratio.

        Args:
            link: ratio on the link, averaged over the message's airtime.
            u: uniform number in [0, 1), by which an SNR is drawn.
        """
        if isinstance(self.snr_db, str):
            return link
        return float(10 ** ((self.snr_db + (2 * u - 1) * self.spread_db) / 10))

    def over_links(self, ratios: Sequence[float]) -> Analogue:
        """The codec at the mean SNR in dB of links with these ratios, if that is the SNR; without noise for none."""
        if self.snr_db != "link":
            return self
        return Analogue(fmean(10 * log10(ratio) for ratio in ratios) if ratios else "noiseless")

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        """As `Codec.roundtrip`, at the SNR `snr_db`. Raises ValueError if that is the link's."""
        if self.snr_db == "link":
            raise ValueError("the SNR is that of a link, which is not known here")
        assert u is not None
        return noisy(x, u, torch.tensor(self.ratio(inf, 0.5), dtype=x.dtype))


@dataclass(frozen=True)
class Received:
    """An analogue message at its receiver, whose SNR is known by then."""

    snr: Any
    """The ratio, a scalar tensor or what stands for one."""

    def roundtrip(self, x: Tensor, u: Tensor | None) -> Tensor:
        """As `Codec.roundtrip`."""
        assert u is not None
        return noisy(x, u, self.snr.to(x.dtype))


register_pytree_node(Received, lambda received: ([received.snr], None), lambda leaves, _: Received(*leaves))


@dataclass(frozen=True)
class Number(Leaf):
    """A number that is known when an operation is submitted, as a float64 scalar; operations may differ in it alone."""

    value: float

    @property
    def meta(self) -> Tensor:
        return torch.empty((), dtype=torch.float64, device="meta")

    @property
    def identity(self) -> bytes:
        return blake2b(f"number {self.value!r}".encode(), digest_size=16).digest()

    def tensor(self) -> Tensor:
        return torch.tensor(self.value, dtype=torch.float64)


def noisy(x: Tensor, u: Tensor, snr: Tensor) -> Tensor:
    """Samples with Gaussian noise, whose power is that of each sample over the ratio `snr`.

    Args:
        x: samples, (samples, ...); of one dimension, one sample.
        u: uniform numbers in [0, 1), in the shape of `x`.
        snr: the ratio, a scalar.
    """
    power = x.square().mean(tuple(range(1, x.ndim)) or 0, keepdim=True)
    smallest = torch.finfo(torch.float32).tiny
    received: Tensor = x + torch.special.ndtri(u.clamp(min=smallest)) * (power / snr).sqrt()
    return received


def size_symbols(codec: Codec | Bundle, tree: Any) -> int:
    """Symbols of the analogue parts of a message; 0 if all of it is digital. Arguments as in `size_bits`."""
    if isinstance(codec, Bundle):
        return sum(size_symbols(each, part) for each, part in zip(codec.codecs, tree, strict=True))
    return codec.symbols(differentiable(tree)) if isinstance(codec, Analogue) else 0
