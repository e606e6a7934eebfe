"""Information measures: entropy and divergence of bits, and what codes on the binary-input Gaussian channel carry.

Short blocks: the normal approximation of the bits that n symbols carry with error probability e,

    k = n C - sqrt(n V) Q^-1(e) + log2(n) / 2,

with the mean C and the variance V of the information density; with symbols of several ratios, n C and n V are sums.
Polyanskiy, Poor, Verdu, Channel coding rate in the finite blocklength regime, IEEE Transactions on Information Theory
56(5), 2010.
"""

from __future__ import annotations

from math import floor, log, log2, sqrt

import torch
from scipy.special import ndtr, ndtri
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
    lost, density = _lost_bits(snr)
    return 1 - (lost * density).sum(-1) / density.sum()


def binary_input_dispersion(snr: Tensor) -> Tensor:
    """Variance of the information density of BPSK in Gaussian noise, in bits squared per real symbol.

    Arguments and method as of `binary_input_capacity`.
    """
    lost, density = _lost_bits(snr)
    mean = (lost * density).sum(-1, keepdim=True) / density.sum()
    return ((lost - mean).square() * density).sum(-1) / density.sum()


def _lost_bits(snr: Tensor) -> tuple[Tensor, Tensor]:
    """log2(1 + exp(-L)) over a grid of L, (..., 801), and the weights of its points, which do not add up to 1."""
    z = torch.linspace(-8, 8, 801, dtype=torch.float64)
    density = torch.exp(-z.square() / 2)
    llr = 2 * snr[..., None] + 2 * snr[..., None].sqrt() * z
    return torch.nn.functional.softplus(-llr) / log(2), density


def block_bits(symbols: int, snr: float, error_rate: float) -> int:
    """Bits that an ideal code carries in so many symbols at a plain ratio, by the normal approximation, rounded down.

    Args:
        symbols: real symbols of the block.
        snr: ratio of symbol power to (real) noise variance, as a plain ratio.
        error_rate: error probability of the block, in (0, 1).
    """
    ratio = torch.tensor(snr, dtype=torch.float64)
    mean = symbols * float(binary_input_capacity(ratio)) + log2(symbols) / 2
    spread = sqrt(symbols * float(binary_input_dispersion(ratio)))
    return max(floor(mean + spread * float(ndtri(error_rate))), 0)


def block_error_rate(bits: int, snr: Tensor) -> float:
    """Error probability of an ideal code of these symbols, by the normal approximation.

    Args:
        bits: bits of the block.
        snr: (n,) float64: plain ratio of each symbol; 0 is not heard.
    """
    ratios, counts = torch.unique(snr[snr > 0], return_counts=True)
    if not len(ratios):
        return 1.0
    mean = float((counts * binary_input_capacity(ratios)).sum()) + log2(int(counts.sum())) / 2
    spread = sqrt(float((counts * binary_input_dispersion(ratios)).sum()))
    if spread == 0:
        return float(bits > mean)
    return float(ndtr((bits - mean) / spread))
