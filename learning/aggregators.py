"""Aggregation of models: means of trees, summed in the order in which they are given."""

from math import inf

import torch
from torch import Tensor

from learning.executor.flops import charge_elementwise

Tree = dict[str, Tensor]


def weighted_mean(trees: list[Tree], weights: tuple[float, ...]) -> Tree:
    """sum_k q_k tree_k with q_k = weight_k / sum of weights.

    Floating-point sums depend on their order, so give the trees in a fixed one (by user number, not by arrival). Raises
    ValueError unless there is one non-negative weight for each tree and a positive one among them.
    """
    shares = normalised(trees, weights)
    return {name: total([tree[name] * share for tree, share in zip(trees, shares, strict=True)]) for name in trees[0]}


def averaged(trees: list[Tree], weights: tuple[float, ...]) -> Tree:
    """`weighted_mean` as a server's job, which is charged two FLOPs for each element of each tree."""
    charge_elementwise(2, trees)
    return weighted_mean(trees, weights)


def masked_mean(previous: Tree, trees: list[Tree], masks: list[Tree], weights: tuple[float, ...]) -> Tree:
    """Each entry is averaged over the trees that kept it (mask true); one that no tree kept is taken from `previous`.

    Where all masks are true it equals `weighted_mean` bit for bit; an entry kept by one tree is that tree's value.
    Raises ValueError as `weighted_mean` does.
    """
    normalised(trees, weights)
    merged = {}
    for name, before in previous.items():
        kept = [mask[name].to(torch.float64) * weight for mask, weight in zip(masks, weights, strict=True)]
        weight_kept = total(kept)
        divisor = torch.where(weight_kept > 0, weight_kept, 1.0)
        shares = [(weight / divisor).to(before.dtype) for weight in kept]
        mean = total([tree[name] * share for tree, share in zip(trees, shares, strict=True)])
        merged[name] = torch.where(weight_kept > 0, mean, before)
    return merged


def normalised(trees: list[Tree], weights: tuple[float, ...]) -> list[float]:
    """Weights divided by their sum."""
    if len(trees) != len(weights) or not all(0 <= weight < inf for weight in weights) or not sum(weights) > 0:
        raise ValueError(f"{len(trees)} models cannot be averaged with the weights {weights}")
    return [weight / sum(weights) for weight in weights]


def total(terms: list[Tensor]) -> Tensor:
    """Their sum, from the first to the last."""
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def mixed(model: Tree, arrived: Tree, share: Tensor) -> Tree:
    """(1 - share) model + share arrived; the share is a float64 scalar. Charged two FLOPs for each element of both."""
    charge_elementwise(2, [model, arrived])
    return {
        name: value * (1 - share).to(value.dtype) + arrived[name] * share.to(value.dtype)
        for name, value in model.items()
    }


def moved(model: Tree, arrived: list[Tree], bases: list[Tree], shares: Tensor) -> Tree:
    """model + sum_k share_k (arrived_k - base_k), summed in the order in which they are given; shares are float64.

    Charged two FLOPs for each element of the model and of each that arrived.
    """
    charge_elementwise(2, [model, arrived])
    result = {}
    for name, value in model.items():
        steps = [new[name] - base[name] for new, base in zip(arrived, bases, strict=True)]
        weighted = [step * share for step, share in zip(steps, shares.to(value.dtype).unbind(), strict=True)]
        result[name] = value + total(weighted)
    return result
