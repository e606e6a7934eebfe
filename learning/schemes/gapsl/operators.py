"""Steps of GAPSL on the gradients of kept users."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.utils._pytree import tree_map

from learning import steps
from learning.aggregators import total, weighted_sum
from learning.data.modalities import differentiable, with_values
from learning.optimisers import Optimiser
from learning.schemes.gapsl.alignment import steered
from learning.steps import Batch, Parameters, Part

Reduction = Literal["sum", "mean_selected", "mean_all"]


def server_step(
    optimiser: Optimiser,
    reduction: Reduction,
    strength: float,
    parameters: Parameters,
    state: Any,
    gradients: list[Parameters],
    leader: Parameters,
    found: dict[str, Tensor],
    weights: tuple[float, ...],
) -> tuple[Parameters, Any]:
    """One step on the gradients of the users that are kept; returns new parameters and state.

    Args:
        optimiser: the server's optimiser.
        reduction: sum over kept users; mean over kept users; or the sum that a mean over all users has of them.
        strength: how far each gradient is turned towards the leader before (0: not at all).
        parameters: the server's part of the model.
        state: state of the optimiser.
        gradients: each user's gradient.
        leader: the leader gradient.
        found: what `aligned` has found.
        weights: each user's weight in a mean.
    """
    shares = list(found["kept"].unbind())
    if reduction != "sum":
        kept = [one * weight for one, weight in zip(shares, weights, strict=True)]
        whole = total(kept) if reduction == "mean_selected" else sum(weights)
        shares = [each / whole for each in kept]
    if strength:
        gradients = steered(strength, gradients, leader, found["cosine"])
    return optimiser.step(parameters, weighted_sum(gradients, shares), state)


def update_front_if_kept(
    segment: Part,
    optimiser: Optimiser,
    parameters: Parameters,
    state: Any,
    x: Batch,
    dz: Any,
    found: dict[str, Tensor],
    place: Tensor,
) -> tuple[Parameters, Any]:
    """`steps.update_front` of the user at `place` (int64 scalar) of the round, if it is kept; else nothing changes."""
    new = steps.update_front(segment, optimiser, parameters, state, x, dz)
    kept = found["kept"].index_select(0, place[None])[0] > 0
    chosen: tuple[Parameters, Any] = tree_map(
        lambda after, before: torch.where(kept, after, before), new, (parameters, state)
    )
    return chosen


def penalised_gradients(
    segment: Part, strength: float, parameters: Parameters, z: Batch, y: Tensor, leader: Parameters
) -> tuple[Parameters, Any]:
    """Gradients of loss + strength (1 - cos) with respect to the server's part and the smashed data.

    cos is that of the angle between the gradient of the loss and the leader, which is constant; so these are second
    derivatives of the loss.

    Args:
        segment: the server's part of the model.
        strength: weight of the penalty.
        parameters: its parameters.
        z: smashed data, (samples, ...).
        y: labels, (samples,).
        leader: the leader gradient.
    """

    def loss_of(parameters: Parameters, values: Any) -> Tensor:
        return steps.mean_loss(segment(parameters, with_values(z, values)), y)

    def penalised(parameters: Parameters, values: Any) -> Tensor:
        gradient, loss = grad_and_value(loss_of)(parameters, values)
        product, own, lead = (_dot(*two) for two in ((gradient, leader), (gradient, gradient), (leader, leader)))
        value: Tensor = loss + strength * (1 - product / torch.sqrt(own * lead))
        return value

    gradients: Parameters
    dz: Any
    (gradients, dz), _ = grad_and_value(penalised, argnums=(0, 1))(parameters, differentiable(z))
    return gradients, dz


def _dot(a: Parameters, b: Parameters) -> Tensor:
    return total([torch.sum(a[name] * b[name]) for name in a])


def penalised_loss(losses: list[Tensor], found: dict[str, Tensor], strength: float) -> dict[str, Tensor]:
    """Figures of a round, by name, as scalars.

    Args:
        losses: each user's loss.
        found: what `aligned` has found.
        strength: weight of the penalty 1 - cos.
    """
    kept, cosine = found["kept"], found["cosine"]
    loss = torch.stack(losses).to(kept.dtype) + strength * (1 - cosine)
    return {
        "aligned_loss": (kept * loss).sum(),
        "mean_angle_rad": found["angle"].mean(),
        "angle_spread_rad": found["spread"],
        "leader_share": found["share"],
        "threshold_rad": found["threshold"],
        "kept_share": kept.mean(),
    }
