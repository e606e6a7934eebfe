"""What the upload of a mini-batch's tokens will cost a user, told from shapes before anything is computed."""

from __future__ import annotations

from typing import NamedTuple

from learning import steps
from learning.codecs import FixedWidth
from learning.control.prediction import trainable_shapes
from learning.data import Inputs, Rows
from learning.parties import PLAIN
from learning.world import World


class UploadCost(NamedTuple):
    """A mini-batch's size, the forward pass before its upload, and the bits that the upload consists of."""

    forward_flops: float
    """Forward pass on the device."""
    samples: int
    """Samples of the mini-batch."""
    patches: int
    """Patch tokens of a sample."""
    token_bits: float
    """One token of all samples."""
    label_bits: float
    """Labels of all samples."""


def upload_cost(world: World, batch: tuple[Inputs, Rows], bits_per_label: int) -> UploadCost:
    """The cost of a user's mini-batch, samples and labels: FLOPs by the executor, bits by the wire, as charged."""
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
