"""Aggregation of several users' adapters, whose ranks may differ.

The mean of factors of equal ranks is `learning.aggregators.weighted_mean`; it is not the mean of the users' increments,
the products of their factors. A message is a tree with "<weight>.down" and "<weight>.up", or with "<weight>", the full
matrix, for each weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F

from learning.adapters.adapted import Adapted, Tree
from learning.aggregators import normalised, weighted_mean
from learning.models.projection import Projection
from learning.models.segment import Segment, modules


def padded_mean(trees: Sequence[Tree], weights: tuple[float, ...]) -> Tree:
    """Mean of the factors after padding them with zeros to the largest rank; a missing adapter has rank 0.

    Cho et al., Heterogeneous LoRA, arXiv 2401.06432, section 3.

    Args:
        trees: factors of each user's adapters, by name.
        weights: a non-negative weight for each user; they need not sum to one.
    """
    largest: dict[str, tuple[int, ...]] = {}
    for tree in trees:
        for name, factor in tree.items():
            sides = zip(factor.shape, largest.get(name, factor.shape), strict=True)
            largest[name] = tuple(max(pair) for pair in sides)
    return weighted_mean([_padded(tree, largest, trees) for tree in trees], weights)


def _padded(tree: Tree, shapes: dict[str, tuple[int, ...]], trees: Sequence[Tree]) -> Tree:
    padded = {}
    for name, shape in shapes.items():
        like = next(other[name] for other in trees if name in other)
        factor = tree.get(name, like.new_zeros([0] * like.ndim))
        short = [want - have for want, have in zip(shape, factor.shape, strict=True)]
        padded[name] = F.pad(factor, [side for missing in reversed(short) for side in (0, missing)])
    return padded


def truncated(adapted: Adapted, tree: Tree) -> Tree:
    """Truncate factors to the ranks of a user: the leading rows and columns.

    Args:
        adapted: the model with the user's ranks, which are not above those of the factors.
        tree: factors (and head) of the server's model, by name.
    """
    shapes = {name: tuple(slice(side) for side in value.shape) for name, value in adapted.parameters().items()}
    return {name: tree[name][part] for name, part in shapes.items()}


def stacked(
    adapted: Sequence[Adapted],
    trees: Sequence[Tree],
    weights: tuple[float, ...],
    over: Literal["all", "participants"] = "all",
) -> Tree:
    """Concatenate the factors of all users: the product is exactly the mean increment sum_k p_k s_k up_k down_k.

    Here s_k is the scale of user k's adapter and p_k its share of the weights. Wang et al., FLoRA, arXiv 2409.05976;
    HSplitLoRA, arXiv 2505.02795 ("noise-free").

    Args:
        adapted: each user's adapted segment.
        trees: factors of its adapters, by name.
        weights: a non-negative weight for each user; they need not sum to one.
        over: whether shares are of the weights of all users, or of the users that have an adapter on the weight in
            question.

    Returns:
        For each weight "<weight>.down", (sum of ranks, inputs), and "<weight>.up", (outputs, sum of ranks).
    """
    normalised(list(trees), weights)
    message = {}
    for weight in sorted({weight for each in adapted for weight, _ in each.ranks}):
        have = [k for k, each in enumerate(adapted) if weight in dict(each.ranks)]
        whole = sum(weights) if over == "all" else sum(weights[k] for k in have)
        scales = [weights[k] / whole * adapted[k].scale(dict(adapted[k].ranks)[weight]) for k in have]
        message[f"{weight}.down"] = torch.cat([trees[k][f"{weight}.down"] for k in have])
        ups = [trees[k][f"{weight}.up"] * scale for k, scale in zip(have, scales, strict=True)]
        message[f"{weight}.up"] = torch.cat(ups, dim=1)
    return message


def thinner(message: Tree) -> Tree:
    """The same increments, each as a full matrix where that has fewer elements than its two factors."""
    thin = {}
    for weight in _weights(message):
        down, up = message[f"{weight}.down"], message[f"{weight}.up"]
        if down.numel() + up.numel() > up.shape[0] * down.shape[1]:
            thin[weight] = up @ down
        else:
            thin[f"{weight}.down"], thin[f"{weight}.up"] = down, up
    return thin


def mean_product(adapted: Sequence[Adapted], trees: Sequence[Tree], weights: tuple[float, ...], like: Adapted) -> Tree:
    """Factors whose increments are nearest to the users' mean increments in the Frobenius norm (truncated SVD).

    Args:
        adapted: each user's adapted segment.
        trees: factors of its adapters, by name.
        weights: a non-negative weight for each user; they need not sum to one.
        like: the segment with the ranks of the result.

    Returns:
        The factors by name; NaN for a weight whose mean increment has an entry that is not finite.
    """
    mean = stacked(adapted, trees, weights)
    factors = {}
    for weight, rank in like.ranks:
        increment = mean[f"{weight}.up"] @ mean[f"{weight}.down"]
        finite = increment.isfinite().all()  # the decomposition raises an error where it is not
        u, s, vh = torch.linalg.svd(torch.where(finite, increment, 0), full_matrices=False)
        root = torch.where(finite, torch.sqrt(s[:rank] / like.scale(rank)), torch.nan)
        factors[f"{weight}.down"] = root[:, None] * vh[:rank]
        factors[f"{weight}.up"] = u[:, :rank] * root
    return factors


def mean_by_product(adapted: Adapted, trees: Sequence[Tree], weights: tuple[float, ...]) -> Tree:
    """Mean of users' trained parameters of one part: adapters by `mean_product`, the head element by element."""
    heads = [{name: value for name, value in tree.items() if not adapted.of_adapter(name)} for tree in trees]
    return mean_product([adapted] * len(trees), trees, weights, adapted) | weighted_mean(heads, weights)


def increments(adapted: Adapted, parameters: Tree) -> Tree:
    """Increments that adapters add to their weights, scale times up down, as full matrices by name of the weight."""
    scaled = stacked([adapted], [parameters], (1.0,))
    return {weight: scaled[f"{weight}.up"] @ scaled[f"{weight}.down"] for weight in _weights(scaled)}


def absorb(segment: Segment, backbone: Tree, message: Tree) -> Tree:
    """Add increments to the weights of a backbone.

    Args:
        segment: the segment that the weights belong to.
        backbone: its parameters, by name.
        message: increments of some weights, as factors or full matrices.

    Returns:
        The parameters with the increments, by name.
    """
    run, whole = modules(segment), dict(backbone)
    for weight in _weights(message):
        name, _, target = weight.rpartition(".")
        projection = run.get_submodule(name)
        assert isinstance(projection, Projection)
        increment = message[weight] if weight in message else message[f"{weight}.up"] @ message[f"{weight}.down"]
        whole[f"{name}.weight"] = whole[f"{name}.weight"] + projection.placed(target, increment)
    return whole


def merged(adapted: Adapted, frozen: Tree, parameters: Tree) -> Tree:
    """Plain parameters of the segment that compute the same function as the frozen ones with adapters and head."""
    head = {name: value for name, value in parameters.items() if not adapted.of_adapter(name)}
    return absorb(adapted.segment, frozen | head, increments(adapted, parameters))


def _weights(message: Tree) -> list[str]:
    return list(dict.fromkeys(name.removesuffix(".down").removesuffix(".up") for name in message))
