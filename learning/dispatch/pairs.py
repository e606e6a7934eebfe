"""Pairs of token and expert: which tokens go to which expert, and operations of a whole layer of experts.

Tokens are (..., tokens, width); dimensions before the last two have the length one. The gate's weights are (tokens,
top_k): an expert that is chosen twice for a token, as a substitute may be, has the sum of both weights.

The shapes of an operation must not depend on values. So each expert that is called computes all tokens, and those that
did not choose it have the weight zero, as in `learning.models.experts`; charged are the pairs alone (`ExpertLayer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np
import torch
from torch import Tensor
from torch.func import vjp

from learning.dispatch.weights import NO_EXPERT
from learning.steps import Parameters, Part


class Pairs:
    """The pairs of token and expert of one pass through a layer."""

    def __init__(self, chosen: Tensor, experts: int) -> None:
        """The pairs of a choice.

        Args:
            chosen: the experts of each token, (tokens, top_k), integers that have been read; `NO_EXPERT` is none.
            experts: number of experts of the layer.
        """
        uses = np.zeros((len(chosen), experts + 1), dtype=bool)  # the last column is that of NO_EXPERT
        uses[np.arange(len(chosen))[:, None], chosen.numpy()] = True
        self._uses = uses[:, :NO_EXPERT]
        counts = self._uses.sum(0).tolist()
        self.of_experts: dict[int, int] = {expert: count for expert, count in enumerate(counts) if count}
        """Number of tokens of each expert, by its number, ascending; experts without tokens are left out."""
        places = np.full(experts + 1, NO_EXPERT)
        places[list(self.of_experts)] = np.arange(len(self.of_experts))
        self.places = torch.from_numpy(places[chosen.numpy()])
        """Place of each choice among `of_experts`, (tokens, top_k); `NO_EXPERT` where there is none."""

    def tokens(self, experts: Sequence[int]) -> int:
        """Number of distinct tokens of some experts."""
        if len(experts) == 1:
            return self.of_experts[experts[0]]
        return int(self._uses[:, experts].any(1).sum())


def mixed(
    part: Part, experts: Sequence[Parameters], tokens: Tensor, places: Tensor, weights: Tensor | None = None
) -> Tensor:
    """The outputs of the experts of each token, weighted by the gate and summed in the order of the experts.

    Args:
        part: what every expert computes of its parameters and of tokens (..., tokens, width).
        experts: the parameters of the experts that are called.
        tokens: the tokens.
        places: places of each token's experts among these, (tokens, top_k), as `Pairs.places`.
        weights: the gate's weight of each of them, (tokens, top_k); None sums the outputs as they are.

    Returns (..., tokens, width of an output). A token without experts has zeros; where there are none at all, they are
    as wide as the tokens.
    """
    terms = []
    for place, parameters in enumerate(experts):
        own = places == place
        gate = own.any(-1).to(tokens.dtype) if weights is None else (own * weights).sum(-1)
        terms.append(gate[:, None] * part(parameters, tokens))
    return reduce(add, terms) if terms else torch.zeros_like(tokens)


def mixed_gradients(
    part: Part,
    experts: Sequence[Parameters],
    tokens: Tensor,
    places: Tensor,
    weights: Tensor | None,
    gradients: Tensor,
) -> tuple[Parameters | Tensor, ...]:
    """Backward pass of `mixed`, from the gradients of its result.

    Returns the gradients of the parameters of each expert, those of the tokens, and, if there are weights, those of
    the weights, (tokens, top_k).
    """

    def output(experts: Sequence[Parameters], tokens: Tensor, weights: Tensor | None = None) -> Tensor:
        return mixed(part, experts, tokens, places, weights)

    given = (tokens,) if weights is None else (tokens, weights)
    of_experts, *others = vjp(output, list(experts), *given)[1](gradients)
    return *of_experts, *others


def renamed(parameters: Parameters, names: tuple[str, ...]) -> Parameters:
    """Parameters under other names, in their order: as those of another expert, with which it then has one shape."""
    return dict(zip(names, parameters.values(), strict=True))
