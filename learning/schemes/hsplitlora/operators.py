"""Operations of HSplitLoRA: users' adapters are combined and added to the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from learning import steps
from learning.adapters import Adapted
from learning.adapters.combine import absorb, padded_mean, stacked, thinner
from learning.aggregators import weighted_mean
from learning.models import Segment

Tree = dict[str, Tensor]
Rule = Literal["stack", "zero_pad", "average"]
Over = Literal["all", "participants"]


def aggregated(
    rule: Rule, over: Over, adapted: Sequence[Adapted], frozen: Tree, trees: list[Tree], weights: tuple[float, ...]
) -> tuple[Tree, Tree, Tree]:
    """Aggregate users' adapters and heads.

    Args:
        rule: how adapters are combined; see `HSplitLoRA.aggregation`.
        over: over which users; see `HSplitLoRA.over`.
        adapted: the whole model with each user's ranks.
        frozen: the backbone, by name.
        trees: each user's trained parameters, by name.
        weights: each user's weight.

    Returns:
        The backbone with the increments added, the mean of the heads, and the factors of the increments.
    """
    factors = combined(rule, over, adapted, trees, weights)
    heads = [
        {name: value for name, value in tree.items() if not each.of_adapter(name)}
        for each, tree in zip(adapted, trees, strict=True)
    ]
    return absorb(adapted[0].segment, frozen, factors), weighted_mean(heads, weights), factors


def combined(rule: Rule, over: Over, adapted: Sequence[Adapted], trees: list[Tree], weights: tuple[float, ...]) -> Tree:
    """Factors of the increment of each weight: exact where users' factors are stacked, else their mean factors.

    Up-projections are multiplied by the users' scales before they are averaged. Arguments are those of `aggregated`.
    """
    if rule == "stack":
        return stacked(adapted, trees, weights, over)
    scaled = [stacked([each], [tree], (1.0,)) if each.ranks else {} for each, tree in zip(adapted, trees, strict=True)]
    return padded_mean(scaled, weights) if rule == "zero_pad" else weighted_mean(scaled, weights)


def joined(stop: int, messages: list[Tree]) -> Tree:
    """Concatenate the increments of several aggregations for the blocks before `stop`, as they are sent."""
    known = [steps.part(message, 0, stop) for message in messages]
    names = sorted({name for message in known for name in message})
    whole = {
        name: torch.cat([m[name] for m in known if name in m], dim=0 if name.endswith(".down") else 1) for name in names
    }
    return thinner(whole)


def received(segment: Segment, frozen: Tree, message: Tree) -> Tree:
    """Add received increments to a device's frozen blocks, an operation by which the merging is charged."""
    return absorb(segment, frozen, message)
