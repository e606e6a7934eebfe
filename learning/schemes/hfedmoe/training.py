"""Local training under HFedMoE: which experts a mini-batch trains, the step on them, and what is known of their use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from learning.adapters import Bound
from learning.control.experts import divergence, importance, selected
from learning.control.experts.selection import Over
from learning.expert_parameters import ExpertParameters
from learning.expert_training import Mask, masked_gradients
from learning.expert_usage import chosen_tokens, mean_probability
from learning.models import Segment
from learning.optimisers import Optimiser
from learning.steps import Parameters

By = Literal["importance", "random", "static", "routed", "all"]
"""What decides which experts are active: importance for the mini-batch, a draw, or the use by a user's first
mini-batch, each within a budget; or nothing, all are active that tokens are routed to, or all."""


@dataclass(frozen=True)
class Selection:
    """Which of the experts that a mini-batch is routed to are active in its backward pass; a plain argument."""

    by: By
    """What decides."""
    lam: float
    """Weight of the mean gate probability in the importance of an expert; the rest is that of the maximum."""
    beta: float
    """Weight of the divergence that is subtracted from it."""
    over: Over
    """What the budget is divided among."""
    mask: Mask
    """What experts that are not active are spared."""


def step(
    segment: Segment | Bound,
    optimiser: Optimiser,
    rule: Selection,
    experts: ExpertParameters,
    parameters: Parameters,
    state: Any,
    x: Tensor,
    y: Tensor,
    budget: Tensor,
    given: Tensor | None,
) -> tuple[Parameters, Any, Tensor, Tensor]:
    """A local step on the active experts of a mini-batch, and on all parameters that belong to no expert.

    Gates are evaluated in a forward pass of their own, by which the active experts are selected. Parameters and
    optimiser state of the other experts stay as they are, bit for bit.

    Args:
        segment: the model.
        optimiser: the optimiser.
        rule: which experts are active.
        experts: the model's experts.
        parameters: parameters of the model.
        state: state of the optimiser.
        x: samples, (samples, ...).
        y: labels, (samples, ...).
        budget: number of experts that may be active, int64, ().
        given: scores to select by in place of the importance, (layers, experts).

    Returns:
        New parameters and state.
        The use of experts, (3, layers, experts): mean gate probability over the tokens, importance, and 1 if active.
        Its activity, (4,): numbers of experts that tokens are routed to, of experts that are active, of pairs of token
        and expert whose expert is active, and of all pairs.
    """
    probabilities, ids = segment.routed(parameters, x)
    score, pairs = importance(probabilities, rule.lam), chosen_tokens(ids, experts.count).to(probabilities.dtype)
    active = torch.ones_like(pairs, dtype=torch.bool)
    if rule.by != "all":
        ranking = score - rule.beta * divergence(probabilities) if given is None else given
        active = selected(ranking, pairs > 0, budget, rule.over)
    gradients = masked_gradients(segment, rule.mask, parameters, x, y, active)
    moved = optimiser.step(parameters, gradients, state)
    parameters, state = kept_unless(active, experts, moved, (parameters, state))
    routed, trained = (pairs > 0).to(pairs.dtype), active.to(pairs.dtype)
    activity = torch.stack([routed.sum(), trained.sum(), (pairs * trained).sum(), pairs.sum()])
    return parameters, state, torch.stack([mean_probability(probabilities), score, trained]), activity


def over_round(used: list[Tensor], activity: list[Tensor], samples: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The use and activity of experts in a local round, from those of its mini-batches, as `step` returns them.

    Args:
        used: use by each mini-batch.
        activity: activity of each mini-batch.
        samples: number of samples of each mini-batch.

    Returns:
        Use, (3, layers, experts): mean gate probability over all tokens, importance, averaged over the mini-batches,
        and number of mini-batches in which an expert was active.
        Activity of each mini-batch, (mini-batches, 4).
    """
    weights = torch.tensor(samples, dtype=used[0].dtype, device=used[0].device) / sum(samples)
    probability, score, active = torch.stack(used, 1)  # (mini-batches, layers, experts) each
    mean = (weights[:, None, None] * probability).sum(0)
    return torch.stack([mean, score.mean(0), active.sum(0)]), torch.stack(activity)


def kept_unless(active: Tensor, experts: ExpertParameters, moved: Any, before: Any) -> Any:
    """A tree of parameters, and of states by their names, in which experts that are not active are as they were."""
    if isinstance(moved, tuple):
        return tuple(kept_unless(active, experts, *each) for each in zip(moved, before, strict=True))
    if not isinstance(moved, dict):
        return moved
    places = {name: experts.expert(name) for name in moved}
    return {
        name: value if (place := places[name]) is None else torch.where(active[place], value, before[name])
        for name, value in moved.items()
    }


def usage(segment: Segment | Bound, parameters: Parameters, x: Tensor) -> Tensor:
    """Mean gate probability of each expert over the tokens of a mini-batch, (layers, experts)."""
    return mean_probability(segment.routed(parameters, x)[0])
