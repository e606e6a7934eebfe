"""Pairs of token and expert: which tokens go to which expert, and operations that take them there and back.

Tokens are (..., tokens, width); dimensions before the last two have the length one. The gate's weights are (tokens,
top_k), and a mask of the same shape says which of them belong to an expert: an expert that is chosen twice for a token,
as a substitute may be, has the sum of both weights.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from learning.dispatch.weights import NO_EXPERT


class Pairs(NamedTuple):
    """The pairs of one expert."""

    positions: Tensor
    """Positions of its tokens, ascending, (pairs,)."""
    mask: Tensor
    """Which of the tokens' choices it is, (tokens, top_k), boolean."""


def routes(chosen: Tensor) -> dict[int, Pairs]:
    """The pairs of each expert, by its number, ascending; experts without tokens are left out.

    `chosen` has the numbers of the experts of each token, (tokens,) or (tokens, top_k), integers that have been read;
    `NO_EXPERT` is none.
    """
    each = chosen.reshape(len(chosen), -1)
    experts = sorted(set(each.flatten().tolist()) - {NO_EXPERT})
    masks = {expert: each == expert for expert in experts}
    return {expert: Pairs(mask.any(-1).nonzero()[:, 0], mask) for expert, mask in masks.items()}


def dispatched(tokens: Tensor, positions: Tensor) -> Tensor:
    """The tokens at some positions: (..., tokens, width) to (..., positions, width)."""
    return tokens.index_select(-2, positions)


def added(total: Tensor, positions: Tensor, outputs: Tensor) -> Tensor:
    """A sum over experts, (..., tokens, width), with the outputs of one more, (..., its tokens, width)."""
    return total.index_add(-2, positions, outputs)


def added_weighted(total: Tensor, positions: Tensor, mask: Tensor, weights: Tensor, outputs: Tensor) -> Tensor:
    """`added` of outputs that are weighted by the gate."""
    return total.index_add(-2, positions, _weight(positions, mask, weights) * outputs)


def output_gradients(gradients: Tensor, positions: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Gradients with respect to the outputs of an expert, (..., its tokens, width), from those of weighted sums."""
    return _weight(positions, mask, weights) * dispatched(gradients, positions)


def added_weight_gradients(
    total: Tensor, positions: Tensor, mask: Tensor, gradients: Tensor, outputs: Tensor
) -> Tensor:
    """Gradients with respect to the gate's weights, (tokens, top_k), with those of the weights of one more expert.

    Args:
        total: the gradients of the experts before it.
        positions: positions of its tokens.
        mask: which choices it is.
        gradients: gradients with respect to the weighted sums, (..., tokens, width).
        outputs: its outputs, (..., its tokens, width).
    """
    products = (dispatched(gradients, positions) * outputs).sum(-1).reshape(-1, 1)
    return total.index_add(0, positions, products * mask.index_select(0, positions))


def _weight(positions: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """The weight of an expert for each of its tokens, (its tokens, 1)."""
    return (weights * mask).sum(-1, keepdim=True).index_select(0, positions)
