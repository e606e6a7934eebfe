"""What HASFL computes besides the usual steps: parts of a model by block, and statistics of its gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import grad

from learning import steps
from learning.models import Segment

Parameters = dict[str, Tensor]

MICRO_BATCHES = 4
"""Parts of a mini-batch whose gradients are compared."""


def back_gradients(
    segment: Segment, private: Parameters, common: Parameters, z: Tensor, y: Tensor
) -> tuple[Parameters, Parameters, Tensor]:
    """Gradients of a user's private copy, of the common blocks, and of the smashed data."""
    gradients, dz, _ = steps.back_gradients(segment, private | common, z, y)
    return {name: gradients[name] for name in private}, {name: gradients[name] for name in common}, dz


def statistics(
    segment: Segment, blocks: int, weights: Parameters, before: Parameters, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What a bound on convergence needs to know, from one mini-batch in `MICRO_BATCHES` equal parts.

    (blocks,): variance of one sample's gradient; (blocks,): squared norm of the mini-batch's gradient; and the change
    of the gradient over the change of the weights since `before`, zero where they did not change.
    """

    def loss(parameters: Parameters, x: Tensor, y: Tensor) -> Tensor:
        return steps.mean_loss(segment(parameters, x), y)

    gradient, size = grad(loss), x.shape[0] // MICRO_BATCHES
    micro = [gradient(weights, *each) for each in zip(x.chunk(MICRO_BATCHES), y.chunk(MICRO_BATCHES), strict=True)]
    mean = {name: torch.stack([each[name] for each in micro]).mean(0) for name in weights}
    spread = [_squares({name: each[name] - mean[name] for name in mean}, blocks) for each in micro]
    earlier = gradient(before, x, y)
    turned = _squares({name: mean[name] - earlier[name] for name in mean}, blocks).sum()
    moved = _squares({name: weights[name] - before[name] for name in mean}, blocks).sum()
    smoothness = torch.where(moved > 0, (turned / moved.clamp(min=torch.finfo(moved.dtype).tiny)).sqrt(), 0)
    return size * torch.stack(spread).sum(0) / (MICRO_BATCHES - 1), _squares(mean, blocks), smoothness


def _squares(tree: Parameters, blocks: int) -> Tensor:
    """(blocks,): squared norms."""
    some: Any = next(iter(tree.values()))
    sums = [
        sum((v.square().sum() for n, v in tree.items() if steps.block(n) == each), some.new_zeros(()))
        for each in range(blocks)
    ]
    return torch.stack(sums)
