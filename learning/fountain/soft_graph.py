"""Graphs with soft edges, by which the degree distribution and the selection weights receive gradients.

An edge has a strength a in [0, 1]: a factor f of encoder or decoder becomes 1 - a + a f, and a message counts a times.
With strengths 0 and 1 this is the LT code itself. Degrees are relaxed by Gumbel-softmax: Jang, Gu and Poole,
Categorical reparameterization with Gumbel-softmax, ICLR 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor

from learning.fountain.graph import gumbel
from learning.fountain.propagation import others_product


def soft_adjacency(
    u_degrees: Tensor, u_inputs: Tensor, degrees: Tensor, log_weights: Tensor, temperature: float
) -> Tensor:
    """Strength of the edge between each symbol and each input: probability that the degree reaches the input's rank.

    Ranks are those of log w_i + Gumbel noise, as in `draw_graph`; gradients reach the weights through a softmax of the
    same keys, which adds zero (straight through).

    Args:
        u_degrees: (m, D): uniform numbers in [0, 1), one for each degree.
        u_inputs: (m, k): uniform numbers in [0, 1), one for each input.
        degrees: (D,): degree distribution.
        log_weights: (k,): logarithms of selection weights.
        temperature: of the softmax; towards 0 a degree becomes certain.

    Returns:
        (m, k).
    """
    degree = torch.softmax((degrees.log() + gumbel(u_degrees)) / temperature, -1)
    reaches = degree.flip(-1).cumsum(-1).flip(-1).clamp(max=1)  # P(d >= 1), P(d >= 2), ...
    keys = log_weights + gumbel(u_inputs)
    ranks = keys.argsort(-1, descending=True).argsort(-1)
    beyond = torch.zeros_like(reaches[:, :1]).expand(-1, max(keys.shape[-1] - reaches.shape[-1], 0))
    strength = torch.cat([reaches, beyond], -1).gather(-1, ranks)
    share = torch.softmax(keys / temperature, -1)
    return strength + strength.detach() * (share - share.detach())


def soft_encode(adjacency: Tensor, signs: Tensor) -> Tensor:
    """BPSK symbols 1 - 2c of the coded bits, (..., m), from those of the input bits, (..., k)."""
    return (1 - adjacency + adjacency * signs[..., None, :]).prod(-1)


def soft_decode(adjacency: Tensor, llrs: Tensor, priors: Tensor, iterations: int) -> Tensor:
    """LLRs of the inputs by the sum-product rule on soft edges; arguments as in `propagation.decode`.

    Args:
        adjacency: (m, k) strengths in [0, 1].
        llrs: (..., m).
        priors: (..., k).
        iterations: number of iterations.

    Returns:
        (..., k).
    """
    limit = min(1 - 1e-12, 1 - torch.finfo(llrs.dtype).eps)
    to_symbols = priors[..., None, :].expand(*llrs.shape, priors.shape[-1])
    total = priors
    for _ in range(iterations):
        factors = 1 - adjacency + adjacency * torch.tanh(to_symbols / 2)
        product = torch.tanh(llrs / 2)[..., None] * others_product(factors)
        to_inputs = 2 * torch.atanh(product.clamp(-limit, limit))
        total = priors + (adjacency * to_inputs).sum(-2)
        to_symbols = total[..., None, :] - adjacency * to_inputs
    return total
