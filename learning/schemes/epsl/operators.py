"""The server's passes under EPSL: for samples that users share, and for the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learning import steps
from learning.aggregators import total
from learning.executor.flops import uncharged
from learning.optimisers import Optimiser
from learning.steps import Parameters, Part


def mean_samples(
    segment: Part,
    count: int,
    parameters: Parameters,
    zs: list[Tensor],
    logits: list[Tensor],
    ys: list[Tensor],
    weights: tuple[float, ...],
) -> tuple[Parameters, Tensor]:
    """Forward and backward pass of virtual samples: number j is the mean over users of their samples number j.

    Its gradient at the last layer is the mean over users of theirs, at their own logits.

    Args:
        segment: the server's part of the model.
        count: virtual samples.
        parameters: its parameters.
        zs: each user's smashed data, (samples, ...).
        logits: what they gave, (samples, ..., classes).
        ys: labels, (samples, ...).
        weights: each user's weight, which sum to one.

    Returns:
        Gradients of the parameters, and of the virtual samples' smashed data, (count, ...).
    """
    z = _mean([each[:count] for each in zs], weights)
    at_logits = [steps.loss_gradient(own, y)[:count] for own, y in zip(logits, ys, strict=True)]
    _, pull = steps.pullback(segment, parameters, z)
    gradients, dz = pull(_mean(at_logits, weights))
    return gradients, dz


def _mean(tensors: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    return total([tensor * weight for tensor, weight in zip(tensors, weights, strict=True)])


def other_samples(segment: Part, first: int, parameters: Parameters, z: Tensor, y: Tensor) -> tuple[Parameters, Tensor]:
    """Backward pass of a user's samples from number `first` on; their part of its mean loss.

    The forward pass is not charged, since the server has done it for all samples on their arrival.

    Args:
        segment: the server's part of the model.
        first: samples that are left out.
        parameters: its parameters.
        z: the user's smashed data, (samples, ...).
        y: labels, (samples, ...).

    Returns:
        Gradients of the parameters, and of the smashed data of these samples.
    """
    part = (len(y) - first) / len(y)
    with uncharged():
        loss, pull = steps.pullback(lambda p, v: steps.mean_loss(segment(p, v), y[first:]), parameters, z[first:])
    gradients, dz = pull(torch.full_like(loss, part))
    return gradients, dz


def joint_step(
    optimiser: Optimiser,
    parameters: Parameters,
    state: Any,
    own: list[Parameters],
    shared: list[Parameters],
    weights: tuple[float, ...],
) -> tuple[Parameters, Any]:
    """One optimiser step; returns new parameters and state.

    Args:
        optimiser: the server's optimiser.
        parameters: the server's part of the model.
        state: state of the optimiser.
        own: gradients of users' own samples.
        shared: the gradient of the virtual samples, if there are any.
        weights: the weights of the users with own samples; those of all users sum to one.
    """
    terms = [*([{name: _mean([tree[name] for tree in own], weights) for name in parameters}] if own else []), *shared]
    return optimiser.step(parameters, {name: total([tree[name] for tree in terms]) for name in parameters}, state)


def joined(parts: list[Tensor]) -> Tensor:
    """Cut-layer gradients of the samples of a mini-batch, in their order."""
    return torch.cat(parts)
