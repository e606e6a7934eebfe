"""The exchange of one mini-batch in a U shape: first and last blocks are at the user, and labels never leave it.

After Vepakomma et al., "Split learning for health", arXiv 1812.00564, configuration (b).
user -> server   output of the first blocks
server           forward pass of the blocks in between
server -> user   their output
user             forward pass of the last blocks, loss, backward pass and step
user -> server   gradient of the server's output
server           backward pass, and a step
server -> user   gradient of the output of the first blocks
user             backward pass and step of the first blocks

Without last blocks at the user (L shape) labels go up with the activations, and the server's passes are one job.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from learning import steps
from learning.codecs import Bundle, FixedWidth, Identity
from learning.data import Inputs, Rows
from learning.executor.deferred import specification
from learning.optimisers import Optimiser
from learning.parties import User
from learning.ports import Process
from learning.protocols.shared_blocks import SharedBlocks
from learning.steps import State, Weights

LABEL = FixedWidth(64)
"""Codec of labels."""


@dataclass
class PrivatePart:
    """First or last blocks of a model, which a user trains on its device."""

    part: Any
    """The part of the model."""
    weights: Weights
    """Its weights."""
    state: State
    """State of its optimiser."""
    optimiser: Optimiser
    """Its optimiser."""

    @property
    def trains(self) -> bool:
        """Whether any of its weights are trained."""
        return bool(specification(self.weights).leaves)


def exchange(
    user: User, first: PrivatePart, last: PrivatePart | None, batch: tuple[Inputs, Rows], blocks: SharedBlocks
) -> Process[None]:
    """One mini-batch; new weights and optimiser states are assigned to the private parts when it is over.

    A user that has no blocks at the server trains without messages.

    Args:
        user: the user.
        first: its first blocks.
        last: its last blocks; None if the server has these.
        batch: samples and labels of the mini-batch.
        blocks: the blocks at the server.
    """
    x, y = batch
    alone = not blocks.own[user]
    z = yield from user.do(steps.front, first.part, first.weights, x, kind="client_forward")
    try:
        if last is None:
            z, y = yield from user.send(user.server, (z, y), "activation", Bundle((Identity(), LABEL)))
            dz = yield from blocks.serve(user, z, y)
        else:
            if not alone:
                z = yield from user.send(user.server, z, "activation")
                z = yield from blocks.forward(user, z)
                z = yield from user.server.send(user, z, "activation")
            tail = (steps.back, last.part, last.optimiser, last.weights, last.state, z, y)
            weights, state, dz, _ = yield from user.do(*tail, kind="client_tail")
            if not alone:
                dz = yield from user.send(user.server, dz, "gradient")
                dz = yield from blocks.backward(user, dz)
    finally:
        blocks.forget(user)
    if first.trains:
        if not alone:
            dz = yield from user.server.send(user, dz, "gradient")
        step = (steps.update_front, first.part, first.optimiser, first.weights, first.state, x, dz)
        first.weights, first.state = yield from user.do(*step, kind="client_backward")
    if last is not None:
        last.weights, last.state = weights, state
