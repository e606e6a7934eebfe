"""The channel, the code and its decoder as one differentiable layer, in which transforms and code are trained."""

from __future__ import annotations

import torch
from torch import Tensor

from learning.fountain.evolution import edges_per_input, evolve, prior_mean

SMALLEST_MEAN = 1e-6
"""Smallest mean LLR: the square root of it has a gradient."""


def surrogate_bits(
    signs: Tensor,
    p: Tensor,
    weights: Tensor,
    degrees: Tensor,
    symbols_per_input: Tensor,
    snr: Tensor,
    iterations: int,
    noise: Tensor,
) -> Tensor:
    """Soft bits tanh(L/2) as belief propagation would give them, by density evolution: L ~ N(sign M_i, 2 M_i).

    The mean M_i is that of the side information plus the messages of as many symbols as the input has on average.
    Computed in float64, as probabilities near one are.

    Args:
        signs: (n, k): the bits of n messages as 1 - 2v.
        p: (n, k): prior probability that a bit is 1.
        weights: (n, k): selection weights with mean one in each message.
        degrees: (D,): degree distribution.
        symbols_per_input: (n,): received symbols per bit.
        snr: (n,): plain ratios of symbol power to (real) noise variance.
        iterations: iterations of belief propagation, at least 1.
        noise: (n, k): standard normal numbers.

    Returns:
        (n, k), of the dtype of `signs`.
    """
    prior = prior_mean(p.double())
    edges = edges_per_input(symbols_per_input.double()[:, None], degrees.double(), weights.double())
    message = evolve(degrees.double(), edges, snr.double(), iterations, prior, max_edges=30)[-1]
    mean = (prior + edges * message[:, None]).clamp(min=SMALLEST_MEAN)
    llrs = signs * mean + (2 * mean).sqrt() * noise
    return torch.tanh(llrs / 2).to(signs.dtype)
