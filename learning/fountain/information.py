"""Information measures: entropy and divergence of bits, and the capacity of the binary-input Gaussian channel."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor


def entropy_bits(p: Tensor) -> Tensor:
    """Entropy in bits of a bit that is 1 with probability p; 0 at p = 0 and p = 1."""
    return -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)) / log(2)


def divergence_bits(q: Tensor, p: Tensor) -> Tensor:
    """Kullback-Leibler divergence in bits of a bit that is 1 with probability q from one with p."""
    return (_term(q, p) + _term(1 - q, 1 - p)) / log(2)


def _term(q: Tensor, p: Tensor) -> Tensor:
    return torch.xlogy(q, q) - torch.xlogy(q, p)


def channel_llrs(received: Tensor, snr: Tensor | float) -> Tensor:
    """LLRs of coded bits from BPSK symbols 1 - 2c that are received in Gaussian noise.

    Args:
        received: symbols scaled to unit gain, that is 1 - 2c plus noise of variance 1/snr.
        snr: ratio of symbol power to (real) noise variance, as a plain ratio; broadcast to `received`.
    """
    return 2 * received * snr


def binary_input_capacity(snr: Tensor) -> Tensor:
    """Capacity in bits per real symbol of BPSK in Gaussian noise: 1 - E log2(1 + exp(-L)), L ~ N(2 snr, 4 snr).

    Args:
        snr: ratio of symbol power to (real) noise variance, as a plain ratio, of any shape, float64.

    Returns:
        The capacity, of the shape of `snr`, by the trapezoidal rule over eight standard deviations to either side.
    """
    z = torch.linspace(-8, 8, 801, dtype=torch.float64)
    density = torch.exp(-z.square() / 2)
    llr = 2 * snr[..., None] + 2 * snr[..., None].sqrt() * z
    lost = torch.nn.functional.softplus(-llr) / log(2)
    return 1 - (lost * density).sum(-1) / density.sum()
