"""Operations of FedAlign-MoE on gates, at the server: routing consistency, the routing reference, mixed gates.

A quantity of each user is a list in the order of the users; what it says of a layer is named after the layer's gate
and has one element for each expert.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from learning.aggregators import normalised, total
from learning.executor.flops import charge_elementwise
from learning.steps import Parameters

Consistency = Literal["conditional", "marginal", "uniform"]


def gates(routing: Parameters) -> list[str]:
    """Names of the gates of which there are statistics, such as "1.feed.1.gate"."""
    return [name.removesuffix(".usage") for name in routing if name.endswith(".usage")]


def stacked(trees: list[Parameters], name: str) -> Tensor:
    """(users, ...): a statistic of all users, in float64."""
    return torch.stack([tree[name] for tree in trees]).double()


def consistency(
    rule: Consistency, temperature: float, samples: tuple[int, ...], routings: list[Parameters]
) -> list[Parameters]:
    """Weight of each user for each expert, by how its routing agrees with that of the other users.

    Weights of the users that choose an expert sum to one; those of the others are zero, as are all if no user does.
    Charged are eight FLOPs for each element of `together`.

    Args:
        rule: `conditional`, exp(-JS / temperature), where JS is the Jensen-Shannon divergence of the mean probabilities
            of the tokens for which the expert is chosen (`together`) from their mean over the other users, weighted by
            samples times usage; `marginal`, 1 - |p - q| / (p + q) of the mean probability p of the expert and its mean
            q over the other users, weighted by samples; or `uniform`, all users alike.
        temperature: the temperature of `conditional`.
        samples: each user's number of samples.
        routings: each user's statistics of routing, as `profile` returns them.
    """
    weights: list[Parameters] = [{} for _ in routings]
    for gate in gates(routings[0]):
        usage, shape = stacked(routings, f"{gate}.usage"), routings[0][f"{gate}.usage"]
        together, probability = stacked(routings, f"{gate}.together"), stacked(routings, f"{gate}.probability")
        counts = torch.tensor(samples, dtype=torch.float64, device=usage.device)[:, None]
        charge_elementwise(0 if rule == "uniform" else 8, together)
        if rule == "conditional":
            scores = (-jensen_shannon(together, mean_of_others(together, counts * usage)) / temperature).exp()
        elif rule == "marginal":
            others = mean_of_others(probability[..., None], counts.expand_as(usage))[..., 0]
            scores = 1 - (probability - others).abs() / (probability + others)
        else:
            scores = torch.ones_like(usage)
        scores = scores * (usage > 0)
        among = scores.sum(0)
        for own, share in zip(weights, scores / torch.where(among > 0, among, 1), strict=True):
            own[f"{gate}.consistency"] = share.to(shape.dtype)
    return weights


def mean_of_others(values: Tensor, weights: Tensor) -> Tensor:
    """For each user the weighted mean over all others of their rows; its own rows where no other has any weight.

    Args:
        values: (users, experts, n).
        weights: (users, experts), not negative.
    """
    means = []
    for user, own in enumerate(values):
        others = torch.cat([weights[:user], torch.zeros_like(weights[:1]), weights[user + 1 :]])
        among = others.sum(0)
        mean = (others[..., None] * values).sum(0) / torch.where(among > 0, among, 1)[:, None]
        means.append(torch.where(among[:, None] > 0, mean, own))
    return torch.stack(means)


def jensen_shannon(one: Tensor, other: Tensor) -> Tensor:
    """Jensen-Shannon divergence of distributions (..., n) in nats, (...); at most log 2."""
    middle = (one + other) / 2
    safe = torch.where(middle > 0, middle, 1)
    return total([(torch.xlogy(p, p) - torch.xlogy(p, safe)).sum(-1) / 2 for p in (one, other)]).clamp(min=0)


def gate_divergence(routings: list[Parameters]) -> Parameters:
    """Mean Jensen-Shannon divergence of the mean probabilities of two users, over pairs and layers; 0 for one user."""
    pairs = [
        jensen_shannon(first[name], second[name])
        for i, first in enumerate(routings)
        for second in routings[:i]
        for name in first
        if name.endswith(".probability")
    ]
    none = torch.zeros_like(next(iter(routings[0].values())).sum())
    return {"gate_divergence": torch.stack(pairs).mean() if pairs else none}


def reference(keep: float, previous: Parameters, weights: list[Parameters], routings: list[Parameters]) -> Parameters:
    """The cohort's distribution over experts: sum over users of consistency x mean probability, normalised.

    Args:
        keep: weight of the previous reference, in [0, 1), by name `reference`; the new one has the rest.
        previous: the previous reference; empty if there is none.
        weights: each user's `consistency`.
        routings: each user's statistics of routing.
    """
    references: Parameters = {}
    for gate in gates(routings[0]):
        name = f"{gate}.reference"
        shares, means = stacked(weights, f"{gate}.consistency"), stacked(routings, f"{gate}.probability")
        charge_elementwise(2, means)
        mass = (shares * means).sum(0)
        new = (mass / mass.sum()).to(routings[0][f"{gate}.probability"].dtype)
        references[name] = keep * previous[name] + (1 - keep) * new if previous else new
    return references


def centred(weight: Tensor) -> Tensor:
    """The weight of a gate, (experts, width), less the mean of its rows.

    One vector added to all rows changes no softmax; it has to be the same for all users, here zero, before rows of
    several users are combined in proportions that depend on the row.
    """
    return weight - weight.mean(0)


def mixed_gates(samples: tuple[int, ...], weights: list[Parameters], trees: list[Parameters]) -> Parameters:
    """Gates whose row of each expert is the mean of the users' centred rows, weighted by consistency.

    Rows of experts that no user chooses are weighted by samples. Charged are four FLOPs for each element of each gate.

    Args:
        samples: each user's number of samples.
        weights: each user's `consistency`.
        trees: each user's weights of the gates, by name.
    """
    charge_elementwise(4, trees)
    by_samples = normalised(trees, samples)
    mixed: Parameters = {}
    for name in trees[0]:
        shares = [own[f"{name.removesuffix('.weight')}.consistency"] for own in weights]
        unused = total(shares) == 0
        rows = [torch.where(unused, n, share)[:, None] for n, share in zip(by_samples, shares, strict=True)]
        mixed[name] = total([row * centred(tree[name]) for row, tree in zip(rows, trees, strict=True)])
    return mixed
