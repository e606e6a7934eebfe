"""The gate's weights of a token's experts, where some of these are left out."""

from __future__ import annotations

import torch
from torch import Tensor

NO_EXPERT = -1
"""In place of an expert's number: the token does not go to an expert."""


def renormalised(weights: Tensor, kept: Tensor) -> Tensor:
    """Weights of a token's experts without those that are not kept, scaled up to the same sum: (tokens, top_k).

    A token that keeps all its weights has exactly these; one that keeps none has zeros.
    """
    remaining = weights * kept
    share = remaining.sum(-1, keepdim=True)
    scale = torch.where(share > 0, weights.sum(-1, keepdim=True) / torch.where(share > 0, share, 1), 0)
    return remaining * scale


def renormalised_gradient(weights: Tensor, kept: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of `renormalised` with respect to the weights, from that with respect to its result."""
    pulled: Tensor = torch.func.vjp(lambda weights: renormalised(weights, kept), weights)[1](gradient)[0]
    return pulled
