"""What a training step over two cuts takes, for each user and split, predicted from shapes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning import steps
from learning.control.observation import Observation, Shapes, observe
from learning.control.prediction import flops, message_bits, trainable_shapes
from learning.control.private_blocks.problem import Floats, Split
from learning.protocols.shared_blocks import between
from learning.world import World


class StepCost(NamedTuple):
    """FLOPs and bits of the stages of `learning.protocols.u_shaped.exchange`, in order, and memory of the device."""

    forward_flops: float
    """Forward pass of the first blocks."""
    up_bits: float
    """Their output."""
    server_forward_flops: float
    """Forward pass at the server."""
    down_bits: float
    """Its output."""
    tail_flops: float
    """Forward and backward pass of the last blocks."""
    up_gradient_bits: float
    """Gradient of the server's output."""
    server_backward_flops: float
    """Backward pass at the server."""
    down_gradient_bits: float
    """Gradient of the output of the first blocks; 0 where nothing in these is trained."""
    backward_flops: float
    """Backward pass of the first blocks, likewise."""
    memory_bytes: int
    """Memory of a step of the first blocks, whose activations are kept until then, plus that of the last blocks."""

    @property
    def device_flops(self) -> float:
        """FLOPs on the device."""
        return self.forward_flops + self.tail_flops + self.backward_flops

    @property
    def server_flops(self) -> float:
        """FLOPs at the server."""
        return self.server_forward_flops + self.server_backward_flops

    def time_s(self, user: Observation, server_flops_per_s: float, share: float) -> float:
        """Time of a step in which no other user occupies the server, and the user has a share (0 to 1) of the bands."""
        up = (self.up_bits + self.up_gradient_bits) / user.upload_bps(share)
        down = (self.down_bits + self.down_gradient_bits) / user.download_bps(share)
        return self.device_flops / user.flops_per_s + up + self.server_flops / server_flops_per_s + down


def step_cost(world: World, user: Observation, split: Split) -> StepCost:
    """Cost of a user's full mini-batch with at least one block in each of the three parts."""
    blocks, (x, y) = world.chain.blocks, user.mini_batch()
    start, stop = split.span(blocks)
    first, middle, last = (between(world.chain, *span) for span in ((0, start), (start, stop), (stop, blocks)))
    w, v, u = (trainable_shapes(world, part) for part in (first, middle, last))
    optimiser, plan = world.optimiser, world.executor.plan

    z = plan(steps.front, first, w, x).profile.outputs[0].tree
    out = plan(steps.front, middle, v, z).profile.outputs[0].tree
    tail = plan(steps.back, last, optimiser, u, optimiser.init(u), out, y)
    step = (
        plan(steps.update_front, first, optimiser, w, optimiser.init(w), x, z) if w else plan(steps.front, first, w, x)
    )
    return StepCost(
        flops(world, steps.front, first, w, x),
        message_bits(world, z),
        flops(world, steps.front, middle, v, z),
        message_bits(world, out),
        world.executor.cost(tail).flops,
        message_bits(world, out),
        flops(world, steps.middle_gradients, middle, v, z, out),
        message_bits(world, z) if w else 0,
        world.executor.cost(step).flops if w else 0,
        world.executor.cost(step).memory_bytes + world.executor.cost(tail).memory_bytes,
    )


@dataclass(frozen=True)
class CostTable:
    """What a step takes, by user and split; all splits leave at least one block at the server."""

    users: list[Observation]
    """The users, as observed."""
    splits: list[Split]
    """The splits, with 1, 2, ... first blocks."""
    time_s: Floats
    """(users, splits): time of a step."""
    device_s: Floats
    """(users, splits): of this, on the device's processor."""
    server_flops: Floats
    """(users, splits): FLOPs at the server in a step."""
    fits: NDArray[np.bool_]
    """(users, splits): whether the memory of the device is large enough."""

    @classmethod
    def of(cls, world: World, last: int) -> CostTable:
        """The table for all users, each with `last` last blocks and an equal share of the bands.

        Raises ValueError where no block is left for the server.
        """
        splits = [Split(first, last) for first in range(1, world.chain.blocks - last)]
        if not splits:
            raise ValueError(f"splits.last {last} leaves no block of {world.chain.blocks} for the server")
        users, share, speed = observe(world.users), 1 / world.cohort_size, world.server.node.flops_per_s
        alike: dict[tuple[Shapes, int, Split], StepCost] = {}

        def cost(user: Observation, split: Split) -> StepCost:
            key = user.sample_shapes, user.batch_size, split
            if key not in alike:
                alike[key] = step_cost(world, user, split)
            return alike[key]

        costs = [[cost(user, split) for split in splits] for user in users]
        rows = list(zip(users, costs, strict=True))
        return cls(
            users,
            splits,
            np.array([[each.time_s(user, speed, share) for each in own] for user, own in rows]),
            np.array([[each.device_flops / user.flops_per_s for each in own] for user, own in rows]),
            np.array([[each.server_flops for each in own] for own in costs]),
            np.array([[each.memory_bytes <= user.memory_bytes for each in own] for user, own in rows]),
        )
