"""What a controller can tell beforehand: what a sample costs at a cut, and at which rates it would travel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from learning import steps
from learning.control.rate import rate_bps
from learning.parties import User, label_bits
from learning.protocols.split import Link
from learning.world import World

Floats = NDArray[np.float64]


class Sample(NamedTuple):
    """What one sample costs at a cut."""

    forward_flops: float
    up_bits: float
    server_flops: float
    down_bits: float
    backward_flops: float


def sample(world: World, link: Link, front: Any, back: Any) -> Sample:
    """What a sample costs, as a part of the scenario's mini-batch, with these parts on the device and at the server."""
    (x, y), runs, wire = world.users[0].batch(0), world.executor, world.server.wire
    samples, weights = world.users[0].batches.batch_size, shapes(world, front)
    forward = runs.plan(steps.front, front, weights, x)
    z = forward.profile.outputs[0].tree
    served = runs.plan(steps.back_gradients, back, shapes(world, back), z, y)
    backward = runs.plan(steps.front_gradients, front, weights, x, z)
    up_bits = wire.bits(z, link.activations) + label_bits(y, link.label_bits)
    return Sample(
        runs.cost(forward).flops / samples,
        up_bits / samples,
        runs.cost(served).flops / samples,
        wire.bits(z, link.gradients) / samples,
        runs.cost(backward).flops / samples,
    )


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
