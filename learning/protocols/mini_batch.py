"""What one mini-batch over a cut model costs, from shapes alone: for controllers that predict rounds."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from learning import steps
from learning.data import Rows
from learning.parties import label_bits
from learning.protocols.split import Link
from learning.world import World


class MiniBatch(NamedTuple):
    """FLOPs and bits of the stages of `learning.protocols.split.exchange`, in their order."""

    forward_flops: float
    up_bits: float
    server_flops: float
    down_bits: float
    backward_flops: float


def of_mini_batch(world: World, link: Link, front: Any, back: Any, batch: tuple[Rows, Rows]) -> MiniBatch:
    """The costs of `batch` with these parts of the model; without reduction of tokens.

    Where nothing of the device's part trains, no gradient comes back.
    """
    x, y = batch
    runs, wire = world.executor, world.server.wire
    weights = meta_weights(world, front)
    forward = runs.plan(steps.front, front, weights, x)
    z = forward.profile.outputs[0].tree
    served = runs.plan(steps.back_gradients, back, meta_weights(world, back), z, y)
    up_bits = wire.bits(z, link.activations) + label_bits(y, link.label_bits)
    down_bits, backward_flops = 0, 0
    if weights:
        down_bits = wire.bits(z, link.gradients)
        backward_flops = runs.cost(runs.plan(steps.front_gradients, front, weights, x, z)).flops
    return MiniBatch(runs.cost(forward).flops, up_bits, runs.cost(served).flops, down_bits, backward_flops)


def meta_weights(world: World, part: Any) -> dict[str, torch.Tensor]:
    """What of a part trains, as meta tensors of the run's precision."""
    return {name: value.to(world.precision) for name, value in part.parameters().items()}
