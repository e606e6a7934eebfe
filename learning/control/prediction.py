"""Prediction of what an exchange over a cut costs a user, from shapes alone.

FLOPs and memory come from the executor and bits from the wire: the same functions by which operations and messages are
charged.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from learning import steps
from learning.adapters import Part
from learning.control.observation import Observation, Shapes
from learning.data import Inputs, Rows
from learning.data.modalities import differentiable
from learning.executor.deferred import Operation
from learning.parties import PLAIN, Message
from learning.protocols.split import CutLink
from learning.world import World


class ExchangeTime(NamedTuple):
    """Times of an exchange in which no other user occupies processors or links."""

    before_s: float
    """Time of the forward pass on the device and the upload of smashed data."""
    server_s: float
    """Time of the forward and backward pass at the server."""
    after_s: float
    """Time of the download of the gradient and the backward pass on the device."""


class ExchangeCost(NamedTuple):
    """FLOPs and bits of the stages of `learning.protocols.split.exchange`, in their order."""

    forward_flops: float
    """FLOPs of the forward pass on the device."""
    up_bits: float
    """Bits of smashed data and labels."""
    server_flops: float
    """FLOPs of the forward and backward pass at the server."""
    down_bits: float
    """Bits of the cut-layer gradient; 0 where nothing on the device is trained."""
    backward_flops: float
    """FLOPs of the backward pass on the device; 0 where nothing there is trained."""

    def per_sample(self, samples: int) -> ExchangeCost:
        """One sample's part of the cost of a mini-batch of `samples`."""
        return ExchangeCost(*(each / samples for each in self))

    def time(self, flops_per_s: float, up_bps: float, server_flops_per_s: float, down_bps: float) -> ExchangeTime:
        """Times of the exchange.

        Args:
            flops_per_s: speed of the device.
            up_bps: rate of the user's uplink in bit/s.
            server_flops_per_s: speed of the server.
            down_bps: rate of the user's downlink in bit/s.
        """
        return ExchangeTime(
            self.forward_flops / flops_per_s + self.up_bits / up_bps,
            self.server_flops / server_flops_per_s,
            self.down_bits / down_bps + self.backward_flops / flops_per_s,
        )


class ExchangePredictor:
    """Predicts costs of mini-batches at one cut of the model, without reduction of tokens.

    Mini-batches of equal shapes are counted once.

    Args:
        world: the world, for its executor, its wire and its optimisers.
        link: codecs of the messages across the cut.
        front: the device's part of the model.
        back: the server's part of the model.
    """

    def __init__(self, world: World, link: CutLink, front: Part, back: Part) -> None:
        self.world, self.link, self.front, self.back = world, link, front, back
        self._costs: dict[tuple[Shapes, int], ExchangeCost] = {}
        self._memory_bytes: dict[tuple[Shapes, int], int] = {}

    def cost(self, user: Observation, samples: int | None = None) -> ExchangeCost:
        """Cost of a mini-batch of a user, of `samples` samples (default: its `batch_size`)."""
        count = user.batch_size if samples is None else samples
        key = user.sample_shapes, count
        if key not in self._costs:
            self._costs[key] = self._cost(*user.mini_batch(count))
        return self._costs[key]

    def memory_bytes(self, user: Observation, samples: int | None = None) -> int:
        """Memory that a backward pass and step take on a user's device, with `samples` (default: its `batch_size`)."""
        count = user.batch_size if samples is None else samples
        key = user.sample_shapes, count
        if key not in self._memory_bytes:
            self._memory_bytes[key] = self._memory(user.mini_batch(count)[0])
        return self._memory_bytes[key]

    def _cost(self, x: Inputs, y: Rows) -> ExchangeCost:
        runs, wire, weights = self.world.executor, self.world.server.wire, trainable_shapes(self.world, self.front)
        forward = runs.plan(steps.front, self.front, weights, x)
        z = forward.profile.outputs[0].tree
        dz = differentiable(z)
        served = runs.plan(steps.back_gradients, self.back, trainable_shapes(self.world, self.back), z, y)
        up_bits = wire.bits((z, y), self.link.upload)
        down_bits, backward_flops = 0, 0
        if weights:
            down_bits = wire.bits(dz, self.link.gradients)
            backward_flops = runs.cost(runs.plan(steps.front_gradients, self.front, weights, x, dz)).flops
        return ExchangeCost(runs.cost(forward).flops, up_bits, runs.cost(served).flops, down_bits, backward_flops)

    def _memory(self, x: Inputs) -> int:
        optimiser, runs, weights = self.world.optimiser, self.world.executor, trainable_shapes(self.world, self.front)
        dz = differentiable(runs.plan(steps.front, self.front, weights, x).profile.outputs[0].tree)
        step = runs.plan(steps.update_front, self.front, optimiser, weights, optimiser.init(weights), x, dz)
        return runs.cost(step).memory_bytes


def trainable_shapes(world: World, part: Part) -> dict[str, torch.Tensor]:
    """Trained parameters of a part of the model by name, as meta tensors of the run's precision."""
    return {name: value.to(world.precision) for name, value in part.parameters().items()}


def flops(world: World, operation: Operation, *args: Any) -> int:
    """FLOPs that an operation on given arguments is charged."""
    return world.executor.cost(world.executor.plan(operation, *args)).flops


def message_bits(world: World, tree: Message) -> int:
    """Bits of a tree of tensors that is sent without a codec, by the shapes that are charged."""
    return world.server.wire.bits(tree, PLAIN)
