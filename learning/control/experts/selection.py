"""Selection of the active experts of a mini-batch: the largest sum of scores within a budget."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Over = Literal["model", "layer"]
"""What a budget is divided among: nothing, the best experts of all layers together are selected; or the layers, evenly,
the first ones getting one more where it does not divide."""


def selected(scores: Tensor, routed: Tensor, budget: Tensor, over: Over) -> Tensor:
    """The experts with the best scores among those that tokens are routed to: boolean, (layers, experts).

    The objective is a sum over experts, so the best ones are optimal (Fang et al., arXiv 2601.00583, equation 15). Of
    equal scores that of the first layer and the lowest number is preferred; experts of negative scores are selected too
    as long as the budget lasts.

    Args:
        scores: score of each expert, (layers, experts).
        routed: which experts any token is routed to, boolean, (layers, experts).
        budget: number of experts that may be selected, int64, ().
        over: what the budget is divided among.
    """
    layers, experts = scores.shape
    ranked = scores.masked_fill(~routed, -torch.inf)
    if over == "model":
        return (_ranks(ranked.reshape(1, -1)).reshape(layers, experts) < budget) & routed
    layer = torch.arange(layers, device=scores.device)
    own = budget // layers + (layer < budget % layers)
    return (_ranks(ranked) < own[:, None]) & routed


def _ranks(scores: Tensor) -> Tensor:
    """Rank of each score in its row, from 0 for the best."""
    return scores.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
