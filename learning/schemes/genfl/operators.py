"""Operations of GenFL: training on generated samples, and the choice of the weight of what comes of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learning import steps
from learning.aggregators import mixed
from learning.optimisers import Optimiser
from learning.steps import Parameters, Part


def train_on_union(
    segment: Part,
    optimiser: Optimiser,
    parameters: Parameters,
    state: Any,
    xs: list[Tensor],
    ys: list[Tensor],
    images: list[Tensor],
    labels: list[Tensor],
    order: list[Tensor],
) -> tuple[Parameters, Any, Tensor]:
    """Local steps on stacks of a user's own samples and on generated ones together, as `steps.train`.

    Args:
        segment: the model.
        optimiser: the optimiser.
        parameters: parameters of the model.
        state: state of the optimiser.
        xs: stacks of own samples, (count, size, ...) each.
        ys: their labels, (count, size) each.
        images: generated samples, (n, ...) each.
        labels: their labels, (n,) each.
        order: stacks of mini-batches, (count, size) each: places among all samples, the own ones first.
    """
    x = torch.cat([*(stack.flatten(0, 1) for stack in xs), *images])
    y = torch.cat([*(stack.flatten() for stack in ys), *labels])
    stacks: list[list[Any]] = [[rows_of(each, samples) for each in order] for samples in (x, y)]
    return steps.train(segment, optimiser, parameters, state, *stacks)


def rows_of(places: Tensor, samples: Tensor) -> Tensor:
    """Rows of samples (n, ...) at places of any shape, (*places.shape, ...)."""
    return samples.index_select(0, places.flatten()).reshape(*places.shape, *samples.shape[1:])


def best_share(segment: Part, mean: Parameters, augmented: Parameters, shares: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The weight of the second model, among `shares`, with which the mean of two has the smallest loss: float64.

    Args:
        segment: the model.
        mean: mean of the users' models.
        augmented: the model that was trained on generated samples.
        shares: the weights that are tried, (tried,), float64.
        x: samples, (n, ...).
        y: their labels, (n,).
    """
    models = [mixed(mean, augmented, share) for share in shares.unbind()]
    losses = torch.stack([steps.mean_loss(segment(model, x), y) for model in models])
    return shares.gather(0, losses.nan_to_num(torch.inf).argmin()[None])[0]
