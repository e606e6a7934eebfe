"""What a round will cost a user, apart from the bits of its activations, told from shapes before it is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from learning import steps
from learning.control.observation import Observation
from learning.control.prediction import ExchangePredictor, message_bits, trainable_shapes


class RoundCost(NamedTuple):
    """All mini-batches of a user's round together, and its part of the model down and up."""

    device_flops: float
    """Forward and backward passes on the device."""
    server_flops: float
    """Forward and backward passes at the server."""
    elements: float
    """Elements of the smashed data, each of which is sent in so many bits as are decided."""
    overhead_bits: float
    """Sent beside them: quantisers' ranges, labels and the device's part of the model."""
    down_bits: float
    """The device's part of the model, and cut-layer gradients."""


def round_cost(predictor: ExchangePredictor, bits: int, user: Observation, sizes: Iterable[int]) -> RoundCost:
    """The cost of a round of mini-batches of these sizes, in samples.

    `bits` are those of an element of the smashed data over the predictor's link.
    """
    world = predictor.world
    model_bits = message_bits(world, trainable_shapes(world, predictor.front))
    device_flops = server_flops = elements = overhead_bits = down_bits = 0.0
    for samples, count in Counter(sizes).items():
        exchange, sent = predictor.cost(user, samples), _elements(predictor, user, samples)
        device_flops += count * (exchange.forward_flops + exchange.backward_flops)
        server_flops += count * exchange.server_flops
        elements += count * sent
        overhead_bits += count * (exchange.up_bits - bits * sent)
        down_bits += count * exchange.down_bits
    return RoundCost(device_flops, server_flops, elements, overhead_bits + model_bits, down_bits + model_bits)


def _elements(predictor: ExchangePredictor, user: Observation, samples: int) -> int:
    """Of a mini-batch's smashed data, as charged."""
    world, (x, _) = predictor.world, user.mini_batch(samples)
    forward = world.executor.plan(steps.front, predictor.front, trainable_shapes(world, predictor.front), x)
    return world.executor.charged(forward.profile.outputs[0].tree).numel
