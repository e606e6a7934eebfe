"""Prediction of what a round costs a user, apart from the bits of its activations, from shapes alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from learning import steps
from learning.control.observation import Observation
from learning.control.prediction import ExchangePredictor, message_bits, trainable_shapes


class RoundCost(NamedTuple):
    """Cost of all mini-batches of a user's round together, and of its part of the model down and up."""

    device_flops: float
    """FLOPs of forward and backward passes on the device."""
    server_flops: float
    """FLOPs of forward and backward passes at the server."""
    elements: float
    """Elements of the smashed data, each of which is sent with the bits that are decided."""
    overhead_bits: float
    """Further bits of the upload: quantisers' ranges, labels and the device's part of the model."""
    down_bits: float
    """Bits of the downlink: the device's part of the model, and cut-layer gradients."""


def round_cost(predictor: ExchangePredictor, bits: int, user: Observation, sizes: Iterable[int]) -> RoundCost:
    """The cost of a round.

    Args:
        predictor: predicts the cost of an exchange.
        bits: bits of an element of the smashed data over the predictor's link.
        user: the user.
        sizes: samples of each mini-batch of the round.
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
    """Number of elements of a mini-batch's smashed data, as charged."""
    world, (x, _) = predictor.world, user.mini_batch(samples)
    forward = world.executor.plan(steps.front, predictor.front, trainable_shapes(world, predictor.front), x)
    return world.executor.charged(forward.profile.outputs[0].tree).numel
