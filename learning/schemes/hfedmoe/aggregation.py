"""Aggregation under HFedMoE: experts over the users that used them, gates by the importance of what they used."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from learning.aggregators import mean_of_holders, total
from learning.executor.flops import charge_elementwise
from learning.expert_parameters import Expert, ExpertParameters
from learning.steps import Parameters

GateWeights = Literal["normalised", "literal", "by_samples"]
"""Weights of the users' gates: preferences divided by their sum, so that equal gates are kept; as the paper writes
them, with a sum far below one, which shrinks the gate; or the users' numbers of samples."""
Scope = Literal["layer", "model"]
"""Over which experts the preferences that weight a gate are summed: those of its layer, or of all layers."""


def aggregated(
    experts: ExpertParameters,
    gates: GateWeights,
    scope: Scope,
    previous: Parameters,
    trees: list[Parameters],
    statistics: list[Parameters],
    weights: tuple[float, ...],
) -> Parameters:
    """The server's next model, charged two FLOPs for each element of each upload.

    Each expert is averaged over the users that uploaded it, and kept where there is none; what belongs to no expert and
    no gate is averaged over all users. Fang et al., arXiv 2601.00583, equations 17 to 21.

    Args:
        experts: the model's experts.
        gates: weights of the users in a gate.
        scope: over which experts a user's preferences are summed.
        previous: the server's model.
        trees: for each user, the parameters that it uploaded: all but those of experts that are not dominant.
        statistics: for each user, what it uploaded of the use of all experts: see `statistics_by_name`.
        weights: for each user, its weight in a mean, by samples.
    """
    charge_elementwise(2, trees)
    merged = mean_of_holders(previous, trees, weights)
    if gates == "by_samples":
        return merged
    uploaded = [{expert for name in tree if (expert := experts.expert(name))} for tree in trees]
    layers = preferences(experts, scope, uploaded, statistics)
    for name, before in previous.items():
        layer = experts.gate(name)
        if layer is None:
            continue
        alpha = layers[layer]
        divisor = alpha.sum() if gates == "normalised" else torch.ones_like(alpha[0])
        shares = (alpha / torch.where(divisor > 0, divisor, 1.0)).to(before.dtype).unbind()
        mean = total([tree[name] * share for tree, share in zip(trees, shares, strict=True)])
        merged[name] = torch.where(alpha.sum() > 0, mean, before)
    return merged


def preferences(
    experts: ExpertParameters, scope: Scope, uploaded: list[set[Expert]], statistics: list[Parameters]
) -> list[Tensor]:
    """For each layer, the preference of each user, (users,): use times importance, summed over its dominant experts.

    It is divided by the number of experts that are dominant for any user. It is zero for a user without dominant
    experts.

    Args:
        experts: the model's experts.
        scope: the experts that count: those of the layer, or all.
        uploaded: the dominant experts of each user.
        statistics: the statistics of each user.
    """
    found = []
    for layer in range(len(experts.layers)):
        counted = {expert for expert in experts.experts if scope == "model" or expert[0] == layer}
        anywhere = len(counted & set().union(*uploaded))
        of_users = [
            [usage(experts, own, expert) for expert in experts.experts if expert in counted & dominant]
            for own, dominant in zip(statistics, uploaded, strict=True)
        ]
        like = next(iter(statistics[0].values()))
        sums = [total(terms) if terms else torch.zeros_like(like) for terms in of_users]
        found.append(torch.stack(sums) / max(anywhere, 1))
    return found


def usage(experts: ExpertParameters, statistics: Parameters, expert: Expert) -> Tensor:
    """Use of an expert times its importance, a scalar."""
    name = experts.name(expert)
    return statistics[f"{name}.usage"] * statistics[f"{name}.importance"]


def statistics_by_name(experts: ExpertParameters, used: Tensor) -> Parameters:
    """Use and importance of each expert as scalars by name, "2.feed.1.experts.5.usage"; `used` is that of `train`."""
    return {
        f"{experts.name(expert)}.{what}": used[(row, *expert)]
        for expert in experts.experts
        for row, what in enumerate(("usage", "importance"))
    }
