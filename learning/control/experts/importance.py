"""Importance of experts for a mini-batch, from the probabilities of the gates."""

from __future__ import annotations

import torch
from torch import Tensor

from learning.expert_usage import max_probability, mean_probability


def importance(probabilities: Tensor, lam: float) -> Tensor:
    """Importance s = lam mean + (1 - lam) maximum of an expert's gate probabilities, (layers, experts).

    Fang et al., arXiv 2601.00583, equations 3 to 5.

    Args:
        probabilities: the gates' softmax over all experts, (layers, ..., experts).
        lam: weight of the mean over all tokens, in [0, 1]; the rest is that of the maximum.
    """
    return lam * mean_probability(probabilities) + (1 - lam) * max_probability(probabilities)


def divergence(probabilities: Tensor) -> Tensor:
    """Mean over tokens of g log(g / mean of g) for the gate probabilities g of each expert, (layers, experts).

    It is zero where g is the same for all tokens, and positive otherwise; 0 log 0 is 0. The stand-in of the paper for
    the information that an expert's activation has about the input: equation 11.

    Args:
        probabilities: the gates' softmax over all experts, (layers, ..., experts).
    """
    g = probabilities.flatten(1, -2)
    mean = g.mean(1, keepdim=True).clamp_min(torch.finfo(g.dtype).tiny)
    return torch.xlogy(g, g / mean).mean(1)
