"""How important a weight is: what its removal would change of the loss to first order, for what tuning it costs."""

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
    """Each weight's cost of one unit of rank, (outputs + inputs), divided by the mean of all."""
    mean = sum(map(sum, sides.values())) / len(sides)
    return {weight: sum(each) / mean for weight, each in sides.items()}


def front_scores(part: Adapted, costs: dict[str, float], parameters: Tree, frozen: Tree, x: Tensor, dz: Tensor) -> Tree:
    """By weight: ||W . dL/dW||_1 / (entries of W) / cost of weights on the device, from the cut-layer gradient.

    `costs` may name weights of the whole model; those in the part are scored. The gradients are those of the backbone's
    weights, with adapters added: 2 outputs inputs FLOPs for each weight and token of `dz`. What else they need, the
    step computes anyway.
    """
    return _scores(part, costs, frozen, lambda some: part(parameters, some, x), dz, _tokens(dz))


def back_scores(part: Adapted, costs: dict[str, float], parameters: Tree, frozen: Tree, z: Tensor, y: Tensor) -> Tree:
    """The same of weights at the server, from the smashed data and the labels."""
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
    """The parameter that a weight lies in, and its rows there."""
    name, _, target = weight.rpartition(".")
    projection = modules(part.segment).get_submodule(name)
    assert isinstance(projection, Projection)
    rows = projection.rows(target)
    assert rows is not None
    return f"{name}.weight", rows


@dataclass(frozen=True)
class History:
    """How new scores and old ones are mixed: a new one counts more early on, and where it differs much."""

    early: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """What a new score counts at the start; in the course of training this falls to zero."""
    fluctuation: Annotated[float, Ge(0)] = 0.25
    """What it counts in addition for a relative difference of one."""
    least: Annotated[float, Interval(gt=0, le=1)] = 0.1
    """What it counts at least; at most, it takes the place of the old one."""

    def mixed(self, before: Floats | None, now: Floats, progress: float) -> Floats:
        """Scores to go by, when a share `progress` of the training is over; the first ones stand for themselves."""
        if before is None:
            return now
        share = self.early * (1 - progress) + self.fluctuation * np.abs(now - before) / (before + 1e-12)
        share = np.clip(share, self.least, 1.0)
        return np.asarray(share * now + (1 - share) * before)


def changed(before: Floats | None, now: Floats, threshold: float) -> bool:
    """Whether importance has changed, in sum, by more than this share of what it was; so it has if none was known."""
    return before is None or float(np.abs(now - before).sum()) > threshold * float(before.sum())
