"""Zeroth-order gradients: from differences of a function along random directions that a seed names.

v_p = h(w + mu u_p) - h(w), g = 1 / (P mu) sum_p v_p u_p. With standard normal directions and small mu the expectation
of g is the gradient, and its variance is (d + 1) / P times the squared norm of the gradient, for d weights.
[Spall, IEEE TAC 1992; Nesterov and Spokoiny, Found. Comput. Math. 2017]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from learning.aggregators import total
from learning.draws import Draw, standard_normal
from learning.executor.flops import charge_elementwise
from learning.optimisers import Optimiser
from learning.ports import Streams
from learning.steps import Parameters, Part

Law = Literal["gaussian", "rademacher"]
DRAW_FLOPS = 2
"""FLOPs of an element of a direction where it is drawn and added to a weight."""
STEP_FLOPS = 3
"""FLOPs of an element of a direction where it is drawn, and added with its factor to the gradient."""


@dataclass(frozen=True)
class Directions:
    """Random directions in the space of the weights."""

    count: Annotated[int, Ge(0)] = 5
    """Directions of a step (P); without any, nothing is estimated."""
    radius: Annotated[float, Gt(0)] = 1e-3
    """How far weights are moved along a direction (mu)."""
    law: Law = "gaussian"
    """Standard normal elements; or signs, with equal probability."""
    two_sided: bool = False
    """Whether differences are between steps to either side, which takes two evaluations for each direction, instead of
    between a step and none."""

    def draws(
        self, streams: Streams, parameters: Parameters, dtype: torch.dtype, *entity: int | str
    ) -> list[dict[str, Draw]]:
        """For each direction, the uniform numbers in [0, 1) of which it is made.

        Args:
            streams: the run's random streams.
            parameters: parameters by name, of which only shapes are read.
            dtype: number format of the weights.
            entity: what the directions are for, such as the number of the round.
        """
        shapes = {name: tuple(value.shape) for name, value in parameters.items()}
        return [
            {name: Draw(streams, "direction", (*entity, p, name), shape, dtype) for name, shape in shapes.items()}
            for p in range(self.count)
        ]

    @property
    def sides(self) -> tuple[float, ...]:
        """The steps along each direction, in units of its length."""
        return (self.radius, -self.radius) if self.two_sided else (self.radius,)


def direction(law: Law, u: Parameters) -> Parameters:
    """A direction, from uniform numbers `u` in the shapes of the weights."""
    if law == "rademacher":
        return {name: torch.where(each < 0.5, -1.0, 1.0).to(each.dtype) for name, each in u.items()}
    return {name: standard_normal(each) for name, each in u.items()}


def perturbed(segment: Part, law: Law, step: float, parameters: Parameters, x: Any, u: Parameters) -> Any:
    """The output of a part of the model for samples `x` with its weights moved `step` times along a direction."""
    return segment(moved(law, step, parameters, u), x)


def moved(law: Law, step: float, parameters: Parameters, u: Parameters) -> Parameters:
    """Weights that are moved `step` times along the direction of uniform numbers `u`."""
    charge_elementwise(DRAW_FLOPS, parameters)
    along = direction(law, u)
    return {name: value + step * along[name] for name, value in parameters.items()}


def estimate(
    directions: Directions, parameters: Parameters, differences: list[Tensor], us: list[list[Parameters]]
) -> Parameters:
    """The gradient that differences along directions tell, summed over groups of directions.

    Args:
        directions: their law, radius and number.
        parameters: the weights, of which only the shapes are read.
        differences: for each group of P directions, (P,): differences of the function.
        us: for each group, the uniform numbers of its directions.
    """
    charge_elementwise(STEP_FLOPS * directions.count * len(us), parameters)
    scale = 1 / (directions.count * directions.radius)
    terms = [
        {name: each * (scale * v).to(each.dtype) for name, each in direction(directions.law, u).items()}
        for group, own in zip(differences, us, strict=True)
        for v, u in zip(group.unbind(), own, strict=True)
    ]
    return {name: total([term[name] for term in terms]) for name in parameters}


def update(
    directions: Directions,
    optimiser: Optimiser,
    parameters: Parameters,
    state: Any,
    differences: list[Tensor],
    us: list[list[Parameters]],
) -> tuple[Parameters, Any]:
    """An optimiser step along the estimated gradient; returns new parameters and state. Arguments as in `estimate`."""
    return optimiser.step(parameters, estimate(directions, parameters, differences, us), state)


def replay(
    directions: Directions,
    optimiser: Optimiser,
    parameters: Parameters,
    state: Any,
    differences: list[list[Tensor]],
    us: list[list[list[Parameters]]],
) -> tuple[Parameters, Any]:
    """The steps of several rounds, one after another; the arguments of each round as in `update`."""
    for own, u in zip(differences, us, strict=True):
        parameters, state = update(directions, optimiser, parameters, state, own, u)
    return parameters, state
