"""Importance of weights: the first-order change of the loss if a weight were removed, over the cost of tuning it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Interval
from torch import Tensor

from learning import steps
from learning.adapters import Adapted
from learning.control.ranks.problem import Floats
from learning.executor.flops import charge_elementwise, uncharged
from learning.models.projection import Projection
from learning.models.segment import modules

Tree = dict[str, Tensor]


def relative_cost(sides: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """Parameters that one unit of rank adds to each weight, outputs + inputs, divided by the mean of all weights.

    `sides` has the (outputs, inputs) of each weight by its name.
    """
    mean = sum(map(sum, sides.values())) / len(sides)
    return {weight: sum(each) / mean for weight, each in sides.items()}


def front_scores(part: Adapted, costs: dict[str, float], parameters: Tree, frozen: Tree, x: Tensor, dz: Tensor) -> Tree:
    """Importance of the weights on a device: the mean of |W . dL/dW| over the entries of W, divided by its cost.

    The gradients are those of the frozen weights, with adapters added. Charged are 2 outputs inputs FLOPs for each
    weight and token; what else the gradients need, the training step computes anyway.

    Args:
        part: the device's part of the model.
        costs: relative cost of each weight, by its name; weights outside the part are left out.
        parameters: what trains in the part.
        frozen: the part's frozen weights.
        x: a mini-batch (samples, *input_shape).
        dz: the cut-layer gradient (samples, tokens, width).

    Returns:
        A scalar for each weight in the part, by its name.
    """
    return _scores(part, costs, frozen, lambda some: part(parameters, some, x), dz, _tokens(dz))


def back_scores(part: Adapted, costs: dict[str, float], parameters: Tree, frozen: Tree, z: Tensor, y: Tensor) -> Tree:
    """Importance of the weights at the server, as `front_scores`.

    Args:
        part: the server's part of the model.
        costs: relative cost of each weight, by its name.
        parameters: trained parameters of the part.
        frozen: the part's frozen weights.
        z: smashed data, (samples, tokens, width).
        y: labels of the samples.
    """
    one = torch.ones((), dtype=z.dtype, device=z.device)
    return _scores(part, costs, frozen, lambda some: steps.mean_loss(part(parameters, some, z), y), one, _tokens(z))


def _scores(
    part: Adapted,
    costs: dict[str, float],
    frozen: Tree,
    output: Callable[[Tree], Tensor],
    gradient: Tensor,
    tokens: int,
) -> Tree:
    blocks = range(part.segment.start, part.segment.stop)
    places = {weight: _place(part, weight) for weight in costs if part.segment.block(weight) in blocks}
    tuned = {name: frozen[name] for name, _ in places.values()}
    with uncharged():
        gradients = steps.pullback(lambda some: output(frozen | some), tuned)[1](gradient)[0]
    scores = {}
    for weight, (name, rows) in places.items():
        charge_elementwise(2 * tokens, tuned[name][rows])
        scores[weight] = (tuned[name][rows] * gradients[name][rows]).abs().mean() / costs[weight]
    return scores


def _tokens(activations: Tensor) -> int:
    """Vectors in a tensor of activations (..., width)."""
    return activations.numel() // activations.shape[-1]


def _place(part: Adapted, weight: str) -> tuple[str, slice]:
    """The parameter that contains a weight, and the rows of the weight in it."""
    name, _, target = weight.rpartition(".")
    projection = modules(part.segment).get_submodule(name)
    assert isinstance(projection, Projection)
    rows = projection.rows(target)
    assert rows is not None
    return f"{name}.weight", rows


@dataclass(frozen=True)
class History:
    """Moving average of scores in which a new score weighs more early in the training, and where it differs much."""

    early: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Weight of a new score at the beginning; it falls linearly to zero at the end of the training."""
    fluctuation: Annotated[float, Ge(0)] = 0.25
    """Additional weight of a new score for each unit of its relative difference from the old one."""
    min_weight: Annotated[float, Interval(gt=0, le=1)] = 0.1
    """Lower limit of the weight of a new score; the upper limit is 1."""

    def averaged(self, before: Floats | None, now: Floats, progress: float) -> Floats:
        """(weights,): the moving average after new scores.

        Args:
            before: (weights,): the average before; None if there is none, and the new scores are returned.
            now: (weights,): the new scores.
            progress: fraction of the training that is over.
        """
        if before is None:
            return now
        share = self.early * (1 - progress) + self.fluctuation * np.abs(now - before) / (before + 1e-12)
        share = np.clip(share, self.min_weight, 1.0)
        return np.asarray(share * now + (1 - share) * before)


def changed(before: Floats | None, now: Floats, threshold: float) -> bool:
    """Whether the importance of weights has changed by more than a threshold, or was not known before.

    Args:
        before: (weights,): importance before; None if it was not known.
        now: (weights,): present importance.
        threshold: the change is compared with it as the sum of absolute differences over the sum of `before`.
    """
    return before is None or float(np.abs(now - before).sum()) > threshold * float(before.sum())
