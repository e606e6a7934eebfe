"""The scalars of a device: its share of the loss along each direction, by the cut-layer gradient alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learning.aggregators import total
from learning.executor.flops import charge_elementwise
from learning.steps import Parameters, Part
from learning.zeroth_order import Law, perturbed


def differences(dz: Tensor, z: Tensor, moved: list[list[Tensor]]) -> Tensor:
    """(P,): <dz, z_p - z> of each direction; of two sides, half of <dz, z_p+ - z_p->.

    Two FLOPs are charged for each element of each side's smashed data.

    Args:
        dz: cut-layer gradient, (samples, ...).
        z: smashed data.
        moved: for each direction, the smashed data at its sides.
    """
    charge_elementwise(2 * sum(map(len, moved)), dz)
    return torch.stack([_difference(dz, z, sides) for sides in moved])


def _difference(dz: Tensor, z: Tensor, sides: list[Tensor]) -> Tensor:
    if len(sides) == 1:
        return torch.sum(dz * (sides[0] - z))
    return torch.sum(dz * (sides[0] - sides[1])) / 2


def probed(
    segment: Part,
    law: Law,
    steps: tuple[float, ...],
    parameters: Parameters,
    x: Any,
    z: Tensor,
    dz: Tensor,
    u: Parameters,
) -> Tensor:
    """(1,): the scalar of one direction, computed when `dz` is there, so that nothing else is stored.

    Args:
        segment: the device's part of the model.
        law: law of the direction.
        steps: how far weights are moved to each of its sides.
        parameters: weights.
        x: samples.
        z: smashed data at these weights.
        dz: cut-layer gradient.
        u: uniform numbers of the direction.
    """
    return differences(dz, z, [[perturbed(segment, law, step, parameters, x, u) for step in steps]])


def joined(scalars: list[Tensor]) -> Tensor:
    """(P,): the scalars of all directions."""
    return torch.cat(scalars)


def mean_differences(scalars: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    """(P,): weighted mean over users of their scalars, at one FLOP each."""
    charge_elementwise(1, scalars)
    return total([v * weight for v, weight in zip(scalars, weights, strict=True)])


def weighted_differences(scalars: list[Tensor], weights: tuple[float, ...]) -> list[Tensor]:
    """For each user its scalars times its weight, at one FLOP each: users with directions of their own."""
    charge_elementwise(1, scalars)
    return [v * weight for v, weight in zip(scalars, weights, strict=True)]
