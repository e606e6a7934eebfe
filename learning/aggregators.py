"""Aggregation of models: means of parameter trees, summed in the order in which they are given."""

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from learning.executor.flops import charge_elementwise
from learning.executor.shape_run import ShapeRun, with_closed_form

Tree = dict[str, Tensor]
"""Parameters by name."""


def weighted_mean(trees: list[Tree], weights: tuple[float, ...]) -> Tree:
    """Weighted mean of models: sum_k q_k tree_k with q_k = weight_k / sum of weights.

    Args:
        trees: models of equal names and shapes. Floating-point sums depend on their order, so give them in a fixed
            one (by user number, not by arrival).
        weights: a non-negative weight for each model; they need not sum to one.

    Raises:
        ValueError: there is not one finite, non-negative weight for each model, or none is positive.
    """
    shares = normalised(trees, weights)
    return {name: total([tree[name] * share for tree, share in zip(trees, shares, strict=True)]) for name in trees[0]}


def weighted_sum(trees: list[Tree], shares: Sequence[Tensor]) -> Tree:
    """Sum of trees by shares that are computed: sum_k share_k tree_k, in the number formats of the trees.

    Args:
        trees: trees of equal names and shapes, in the order of summation.
        shares: a scalar for each of them.
    """
    return {
        name: total([tree[name] * share.to(value.dtype) for tree, share in zip(trees, shares, strict=True)])
        for name, value in trees[0].items()
    }


def _average_of_shapes(trees: list[Tree], weights: tuple[float, ...]) -> ShapeRun | None:
    """`averaged` in closed form: of one tensor after another, all products are held beside the first sum.

    Memory is that of the operands, of the means so far, and of the products and the sum of one tensor.
    """
    distinct = {id(tree): tree for tree in trees}.values()  # equal models have the same meta tensors
    forms = [{name: (value.shape, value.dtype) for name, value in tree.items()} for tree in distinct]
    if any(form != forms[0] for form in forms) or not all(value.is_floating_point() for value in trees[0].values()):
        return None
    normalised(trees, weights)
    count, held, peak = len(trees), 0, 0
    for value in trees[0].values():
        size_bytes = value.numel() * value.itemsize
        peak = max(peak, held + size_bytes * (count + 1 if count > 1 else 1))
        held += size_bytes
    elements = sum(value.numel() for value in trees[0].values())
    means = {name: torch.empty(value.shape, dtype=value.dtype, device="meta") for name, value in trees[0].items()}
    return ShapeRun(means, 2 * count * elements, count * held + peak, alone=False, thin=False)


@with_closed_form(_average_of_shapes)
def averaged(trees: list[Tree], weights: tuple[float, ...]) -> Tree:
    """`weighted_mean` as work of a server, charged two FLOPs for each element of each tree."""
    charge_elementwise(2, trees)
    return weighted_mean(trees, weights)


def masked_mean(previous: Tree, trees: list[Tree], masks: list[Tree], weights: tuple[float, ...]) -> Tree:
    """Weighted mean of pruned models: each entry is averaged over the models that kept it.

    Where all masks are true it equals `weighted_mean` bit for bit; an entry kept by one model alone is that model's.

    Args:
        previous: the last aggregate, from which an entry is taken that no model kept.
        trees: the pruned models.
        masks: for each of them, boolean tensors by name; true where an entry was kept.
        weights: a non-negative weight for each of them.

    Raises:
        ValueError: as `weighted_mean`.
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


def mean_of_holders(previous: Tree, trees: list[Tree], weights: tuple[float, ...]) -> Tree:
    """Weighted mean of models that lack some tensors: each tensor is averaged over the models that have it.

    Where all models have all tensors it equals `weighted_mean` bit for bit; a tensor that one model has is that one's.

    Args:
        previous: the last aggregate, with all names, from which a tensor is taken that no model has (or only models of
            weight 0).
        trees: the models, with some of these names.
        weights: a non-negative weight for each of them.

    Raises:
        ValueError: as `weighted_mean`.
    """
    normalised(trees, weights)
    merged = {}
    for name, before in previous.items():
        held = [({name: tree[name]}, weight) for tree, weight in zip(trees, weights, strict=True) if name in tree]
        own, shares = [tree for tree, _ in held], tuple(weight for _, weight in held)
        merged[name] = weighted_mean(own, shares)[name] if sum(shares) > 0 else before
    return merged


def normalised(trees: list[Tree], weights: tuple[float, ...]) -> list[float]:
    """The weights divided by their sum. Raises ValueError as `weighted_mean` does."""
    if len(trees) != len(weights) or not all(0 <= weight < inf for weight in weights) or not sum(weights) > 0:
        raise ValueError(f"{len(trees)} models cannot be averaged with the weights {weights}")
    return [weight / sum(weights) for weight in weights]


def total(terms: list[Tensor]) -> Tensor:
    """Sum of tensors of equal shape, added from the first to the last."""
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def mixed(model: Tree, arrived: Tree, share: Tensor) -> Tree:
    """The convex combination (1 - share) model + share arrived, charged two FLOPs for each element of both models.

    Args:
        model: the server's model.
        arrived: the model that a user uploaded, of equal names and shapes.
        share: weight of the uploaded model in [0, 1], a float64 scalar.
    """
    charge_elementwise(2, [model, arrived])
    return {
        name: value * (1 - share).to(value.dtype) + arrived[name] * share.to(value.dtype)
        for name, value in model.items()
    }


def moved(model: Tree, arrived: list[Tree], bases: list[Tree], shares: Tensor) -> Tree:
    """The model moved by weighted updates: model + sum_k share_k (arrived_k - base_k).

    Charged two FLOPs for each element of the model and of each model that arrived.

    Args:
        model: the server's model.
        arrived: the models that users uploaded, in the order of summation.
        bases: for each of them, the model that its user had downloaded.
        shares: (arrived,): weight of each update, float64.
    """
    charge_elementwise(2, [model, arrived])
    result = {}
    for name, value in model.items():
        steps = [new[name] - base[name] for new, base in zip(arrived, bases, strict=True)]
        weighted = [step * share for step, share in zip(steps, shares.to(value.dtype).unbind(), strict=True)]
        result[name] = value + total(weighted)
    return result
