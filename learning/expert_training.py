"""Training steps of a model with experts whose backward pass goes through some of them only: gradients, and costs.

Shapes must not depend on values, so that a step computes the gradients of all experts and discards those of experts
that are not active. What it is charged lies between steps that are charged here from their shapes, with all experts
active or none: FLOPs, and memory, of the backward pass grow in proportion to the pairs of token and expert that are
active, and memory also in proportion to the experts, each of which has a gradient and an update.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import grad_and_value

from learning.adapters import Bound
from learning.executor.flops import charge_elementwise, uncharged
from learning.models import Segment
from learning.models.experts import expert_of
from learning.optimisers import Optimiser
from learning.parties import PartialWork
from learning.steps import Parameters, mean_loss, pullback

Mask = Literal["output", "params_only"]
"""What an expert that is not active is spared: its part of the backward pass (`output`), or the gradients of its own
parameters alone, while it passes on the gradient of its input (`params_only`)."""

SCORING_FLOPS = 6
"""FLOPs for each gate probability of importance scores: a sum, a maximum, and a Kullback-Leibler term."""


def masked_gradients(
    segment: Segment | Bound, mask: Mask, parameters: Parameters, x: Tensor, y: Tensor, active: Tensor
) -> Parameters:
    """Gradients of the mean loss of a mini-batch, of which those of experts that are not active are zero or useless.

    Args:
        segment: the model.
        mask: what experts that are not active are spared; under `params_only` their gradients must be discarded.
        parameters: its parameters.
        x: samples, (samples, ...).
        y: labels, (samples, ...).
        active: which experts are active, boolean, (layers, experts).
    """

    def loss_of(parameters: Parameters) -> Tensor:
        return mean_loss(segment.selective_backward(parameters, x, active if mask == "output" else True), y)

    gradients: Parameters = grad_and_value(loss_of)(parameters)[0]
    return gradients


def forward(segment: Segment | Bound, parameters: Parameters, x: Tensor, y: Tensor) -> Tensor:
    """Mean loss of a mini-batch; the experts' scores are charged too, from the gate probabilities at hand."""
    with uncharged():
        probabilities, _ = segment.routed(parameters, x)
    charge_elementwise(SCORING_FLOPS, probabilities)
    return mean_loss(segment(parameters, x), y)


Charged = tuple[Segment | Bound, Optimiser, Mask, Parameters, Any, Tensor, Tensor]
"""Arguments of the following steps: model, optimiser, mask, parameters, optimiser state, samples, labels."""


def step_of_all(
    segment: Segment | Bound, optimiser: Optimiser, mask: Mask, parameters: Parameters, state: Any, x: Tensor, y: Tensor
) -> tuple[Parameters, Any]:
    """Backward pass and step with all experts active; the forward pass, of which activations are kept, is not charged.

    Returns new parameters and optimiser state.
    """
    with uncharged():
        loss, pull = pullback(lambda p: mean_loss(segment(p, x), y), parameters)
    return optimiser.step(parameters, pull(torch.ones_like(loss))[0], state)


def step_of_others(
    segment: Segment | Bound, optimiser: Optimiser, mask: Mask, parameters: Parameters, state: Any, x: Tensor, y: Tensor
) -> tuple[Parameters, Any]:
    """`step_of_all` with no active expert: gradients, new values and new optimiser states of other parameters alone.

    It is run for its cost only; the optimiser of the other parameters begins anew.
    """
    others, gradients = _gradients_of_others(segment, mask, parameters, x, y)
    moved, state = optimiser.step(others, gradients, optimiser.init(others))
    return parameters | moved, state


def step_with_zeros(
    segment: Segment | Bound, optimiser: Optimiser, mask: Mask, parameters: Parameters, state: Any, x: Tensor, y: Tensor
) -> tuple[Parameters, Any]:
    """`step_of_others` with gradients of the experts too, all zero: it takes their memory, not that of activations."""
    _, gradients = _gradients_of_others(segment, mask, parameters, x, y)
    whole = {name: gradients[name] if name in gradients else torch.zeros_like(p) for name, p in parameters.items()}
    return optimiser.step(parameters, whole, state)


def _gradients_of_others(
    segment: Segment | Bound, mask: Mask, parameters: Parameters, x: Tensor, y: Tensor
) -> tuple[Parameters, Parameters]:
    """Parameters that belong to no expert, and their gradients where no expert is active."""
    others = {name: value for name, value in parameters.items() if expert_of(name) is None}

    def loss_of(others: Parameters) -> Tensor:
        return mean_loss(segment.selective_backward(parameters | others, x, mask != "output"), y)

    with uncharged():
        loss, pull = pullback(loss_of, others)
    return others, pull(torch.ones_like(loss))[0]


def partial_step(experts: float, pairs: float) -> PartialWork:
    """What a backward pass and step is charged in which some experts are active, as shares of steps with given costs.

    FLOPs are exact, since those of an expert are proportional to its tokens. Memory is interpolated between peaks, and
    not less than the peak in between where the share of the experts is at least that of the pairs.

    Args:
        experts: share of the experts that are active, in [0, 1].
        pairs: share of the pairs of token and expert whose expert is active, in [0, 1].
    """
    return (step_of_others, 1 - experts), (step_with_zeros, experts - pairs), (step_of_all, pairs)
