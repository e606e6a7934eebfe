"""Belief propagation on the graph of an LT code, for many receivers of one stream in one call.

A coded symbol j with LLR Lch_j sends to its neighbour i, and an input i with prior Lpri_i to its symbol j,

    c2v_ji = 2 atanh( tanh(Lch_j / 2) prod_{i' in N(j) - i} tanh(v2c_i'j / 2) ),
    v2c_ij = Lpri_i + sum_{j' in N(i) - j} c2v_j'i,

all at once in an iteration (flooding), from v2c_ij = Lpri_i; the result is L_i = Lpri_i + sum_{j in N(i)} c2v_ji.
Kschischang, Frey and Loeliger, Factor graphs and the sum-product algorithm, IEEE Transactions on Information Theory
47(2), 2001. A symbol that a receiver does not hear has LLR 0 and says nothing, so that receivers that listen to
different parts of a stream share a graph.

Without priors nothing happens before a symbol of degree one: all other messages to a neighbour contain a factor 0. If
all priors differ from 0, every symbol informs its neighbours in the first iteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from learning.fountain.graph import Graph, neighbouring, summed

CERTAIN_LLR = 30.0
"""LLRs are limited to this magnitude: e^-30 is below 1e-13."""
EDGE_OPERATIONS = {"sum_product": 25, "min_sum": 8}
"""Operations of each edge in an iteration. Sum-product: a tanh and an atanh (about eight each), two running products,
the channel's factor, limits, and the sum and difference at the input. Min-sum: signs, two smallest magnitudes, scaling,
and the same sum and difference."""
SYNDROME_OPERATIONS = 10
"""Operations of each edge in the soft syndrome: a tanh (about eight), a product and a sum."""


@dataclass(frozen=True)
class Propagation:
    """How messages of coded symbols are computed."""

    rule: Literal["sum_product", "min_sum"] = "sum_product"
    """The exact rule, or the product of signs with the smallest magnitude, scaled."""
    scaling: Annotated[float, Gt(0), Le(1)] = 0.8
    """Factor on messages by `min_sum`, which otherwise overestimates them."""
    damping: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the previous message that remains in the next one; 0 is none."""

    def check_to_input(self, llrs: Tensor, messages: Tensor, used: Tensor) -> Tensor:
        """Messages from symbols to their neighbours, each from the other neighbours' messages.

        Args:
            llrs: (..., m): channel LLRs.
            messages: (..., m, D): messages from the neighbours.
            used: (..., m, D) bool: the places that are edges.

        Returns:
            (..., m, D), 0 where no edge is.
        """
        if self.rule == "sum_product":
            factors = torch.where(used, torch.tanh(messages / 2), 1.0)
            product = torch.tanh(llrs / 2)[..., None] * others_product(factors)
            limit = min(1 - 1e-12, 1 - torch.finfo(messages.dtype).eps)
            return torch.where(used, 2 * torch.atanh(product.clamp(-limit, limit)), 0.0)
        signs = others_product(torch.where(used, torch.where(messages < 0, -1.0, 1.0).to(messages.dtype), 1.0))
        magnitudes = others_minimum(torch.where(used, messages.abs(), torch.inf))
        smallest = torch.minimum(magnitudes, llrs.abs()[..., None])
        return torch.where(used, self.scaling * signs * llrs.sign()[..., None] * smallest, 0.0)


SUM_PRODUCT = Propagation()


def decode(
    graph: Graph,
    llrs: Tensor,
    priors: Tensor,
    iterations: int,
    propagation: Propagation = SUM_PRODUCT,
    own_iterations: Tensor | None = None,
) -> Tensor:
    """LLRs of the input bits after belief propagation.

    Args:
        graph: the code: m symbols, for all receivers or with the leading dimensions of `llrs`.
        llrs: (..., m): channel LLRs of each receiver; 0 for symbols that it has not received.
        priors: (..., k): LLRs of the inputs before; 0 without side information. Broadcast to the receivers.
        iterations: number of iterations; with 0 the result is the priors.
        propagation: the rule of messages.
        own_iterations: (...,) integers: iterations of each receiver, at most `iterations` (default: all of them).

    Returns:
        (..., k).
    """
    llrs = llrs.clamp(-CERTAIN_LLR, CERTAIN_LLR)
    prior = priors.clamp(-CERTAIN_LLR, CERTAIN_LLR).expand(*llrs.shape[:-1], priors.shape[-1])
    to_symbols = neighbouring(graph, prior)
    to_inputs = torch.zeros_like(to_symbols)
    total = priors.expand_as(prior)
    for number in range(iterations):
        sent = propagation.check_to_input(llrs, to_symbols.clamp(-CERTAIN_LLR, CERTAIN_LLR), graph.used)
        to_inputs = propagation.damping * to_inputs + (1 - propagation.damping) * sent
        after = prior + summed(graph, to_inputs, prior.shape[-1])
        to_symbols = neighbouring(graph, after) - to_inputs
        total = after if own_iterations is None else torch.where(own_iterations[..., None] > number, after, total)
    return total


def others_product(factors: Tensor) -> Tensor:
    """Product of all other elements of the last dimension, by products from both ends: no division by a zero."""
    one = torch.ones_like(factors[..., :1])
    before = torch.cat([one, factors[..., :-1]], -1).cumprod(-1)
    behind = torch.cat([one, factors[..., 1:].flip(-1)], -1).cumprod(-1).flip(-1)
    return before * behind


def others_minimum(values: Tensor) -> Tensor:
    """Minimum of all other elements of the last dimension; infinite where there is none."""
    padded = torch.cat([values, torch.full_like(values[..., :1], torch.inf)], -1)
    smallest = padded.topk(2, dim=-1, largest=False)
    places = torch.arange(values.shape[-1])
    return torch.where(places == smallest.indices[..., :1], smallest.values[..., 1:], smallest.values[..., :1])


def soft_syndrome(graph: Graph, llrs: Tensor, posteriors: Tensor, heard: Tensor) -> Tensor:
    """Mean agreement of received symbols with the decoded bits: a stopping rule that needs no knowledge of the bits.

    It is the mean over received symbols j of tanh(Lch_j/2) prod_{i in N(j)} tanh(L_i/2), close to 1 once decoded.

    Args:
        graph: the code.
        llrs: (..., m): channel LLRs.
        posteriors: (..., k): LLRs of the inputs.
        heard: (..., m) bool: the symbols that are received.

    Returns:
        (...,); 0 where nothing is received.
    """
    agreement = torch.tanh(llrs / 2) * torch.where(
        graph.used, torch.tanh(neighbouring(graph, posteriors) / 2), 1.0
    ).prod(-1)
    return (agreement * heard).sum(-1) / heard.sum(-1).clamp(min=1)


def decoding_operations(
    symbols: float, mean_degree: float, iterations: int, propagation: Propagation = SUM_PRODUCT
) -> int:
    """Operations of a receiver that decodes so many symbols in so many iterations, rounded up."""
    return ceil(iterations * symbols * mean_degree * EDGE_OPERATIONS[propagation.rule])


def encoding_operations(symbols: float, mean_degree: float) -> int:
    """Exclusive ors of the sender of so many symbols, rounded up."""
    return ceil(symbols * (mean_degree - 1))
