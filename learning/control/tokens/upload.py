"""Prediction of what the upload of a mini-batch's tokens costs a user, from shapes alone."""

from __future__ import annotations

from typing import NamedTuple

from learning import steps
from learning.codecs import FixedWidth
from learning.control.prediction import trainable_shapes
from learning.data import Inputs, Rows
from learning.parties import PLAIN
from learning.world import World


class UploadCost(NamedTuple):
    """Size of a mini-batch, cost of the forward pass before its upload, and bits of the upload."""

    forward_flops: float
    """FLOPs of the forward pass on the device."""
    samples: int
    """Number of samples of the mini-batch."""
    patches: int
    """Number of patch tokens of a sample."""
    token_bits: float
    """Bits of one token of all samples."""
    label_bits: float
    """Bits of the labels of all samples."""


def upload_cost(world: World, batch: tuple[Inputs, Rows], bits_per_label: int) -> UploadCost:
    """Predict the cost of a user's mini-batch: FLOPs by the executor, bits by the wire, as charged.

    Args:
        world: the world.
        batch: samples and labels, of which only the shapes are used.
        bits_per_label: bits of one sample's label.
    """
    x, y = batch
    forward = world.executor.plan(steps.scored_front, world.front, trainable_shapes(world, world.front), x)
    h = forward.profile.outputs[0].tree
    tokens = h.shape[1]
    return UploadCost(
        forward_flops=world.executor.cost(forward).flops,
        samples=len(y.indices),
        patches=tokens - 1,
        token_bits=world.server.wire.bits(h, PLAIN) / tokens,
        label_bits=world.server.wire.bits(y, FixedWidth(bits_per_label)),
    )
