"""What a controller can tell beforehand, from shapes: what data costs at a cut, and at which rates it would travel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from learning import steps
from learning.control.rate import rate_bps
from learning.data import Inputs, Rows
from learning.parties import User
from learning.protocols.split import CutLink
from learning.world import World

Floats = NDArray[np.float64]


class Exchange(NamedTuple):
    """FLOPs and bits of the stages of `learning.protocols.split.exchange`, in their order."""

    forward_flops: float
    up_bits: float
    server_flops: float
    down_bits: float
    backward_flops: float


def of_mini_batch(world: World, link: CutLink, front: Any, back: Any, batch: tuple[Inputs, Rows]) -> Exchange:
    """What a mini-batch costs with these parts of the model, without reduction of tokens.

    Where nothing of the device's part trains, no gradient comes back.
    """
    x, y = batch
    runs, wire, weights = world.executor, world.server.wire, shapes(world, front)
    forward = runs.plan(steps.front, front, weights, x)
    z = forward.profile.outputs[0].tree
    served = runs.plan(steps.back_gradients, back, shapes(world, back), z, y)
    up_bits = wire.bits((z, y), link.upload)
    down_bits, backward_flops = 0, 0
    if weights:
        down_bits = wire.bits(z, link.gradients)
        backward_flops = runs.cost(runs.plan(steps.front_gradients, front, weights, x, z)).flops
    return Exchange(runs.cost(forward).flops, up_bits, runs.cost(served).flops, down_bits, backward_flops)


def of_sample(world: World, link: CutLink, front: Any, back: Any) -> Exchange:
    """What a sample costs as a part of the largest mini-batch that anybody has."""
    batch = largest_mini_batch(world)
    return Exchange(*(each / len(batch[1].indices) for each in of_mini_batch(world, link, front, back, batch)))


def largest_mini_batch(world: World) -> tuple[Inputs, Rows]:
    """Of any user: as many samples as the scenario's `batch_size`, if anybody has so many."""
    return max(world.users, key=lambda user: user.batches.largest).batch(0)


def rates_bps(world: World, users: Iterable[User]) -> tuple[Floats, Floats]:
    """Up and down, with an equal part of the band for each that takes part, on average over fading."""
    share = 1 / world.wanted
    up, down = ([getattr(user.node, side) for user in users] for side in ("uplink", "downlink"))

    def rates(channels: list[Any], power: float) -> Floats:
        return np.array(
            [
                rate_bps(share * each.bandwidth_hz, power * each.max_power_w, each.gain_over_noise_hz_per_w)
                for each in channels
            ]
        )

    return rates(up, 1.0), rates(down, share)


def shapes(world: World, part: Any) -> dict[str, torch.Tensor]:
    """What of a part trains, as meta tensors of the run's precision."""
    return {name: value.to(world.precision) for name, value in part.parameters().items()}
