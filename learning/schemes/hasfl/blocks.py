"""Blocks of the model under HASFL: common ones, and the users' own ones, on the device or at the server."""

from __future__ import annotations

import torch

from learning import steps
from learning.adapters import Part
from learning.data import Rows
from learning.optimisers import Optimiser
from learning.parties import User
from learning.ports import Process
from learning.protocols.split import JointPart, Smashed
from learning.schemes.hasfl import operators
from learning.steps import State, Weights
from learning.world import World


class ServerBlocks:
    """The global model: the users' own blocks as aggregated last, and the common blocks above the deepest cut.

    At first all blocks are common.
    """

    def __init__(self, world: World) -> None:
        self.world, self.deepest = world, 0
        self.own: Weights = {}
        """Weights of the users' own blocks, from the first block to the deepest cut."""
        self.common = JointPart(world, world.initial(world.whole), ())
        """The blocks above, which are trained on the mean of all users' gradients."""

    @property
    def whole(self) -> Weights:
        """Weights of all blocks."""
        return self.world.executor.submit(steps.merge, self.own, self.common.weights)

    def divide(self, deepest: int) -> None:
        """Make the blocks above the cut `deepest` common; where these change, their optimiser state is initialised."""
        if deepest == self.deepest:
            return
        world, whole, blocks = self.world, self.whole, self.world.chain.blocks
        self.own = world.executor.submit(steps.part, whole, 0, deepest)
        common = world.executor.submit(steps.part, whole, deepest, blocks)
        self.common = JointPart(world, common, _fresh_state(world, world.server_optimiser, deepest, blocks))
        self.deepest = deepest


class UserBlocks:
    """One user's own blocks: on its device up to its cut, and from there to the deepest cut as a copy at the server."""

    def __init__(self, user: User, server: ServerBlocks) -> None:
        self.user, self.server, self.world = user, server, server.world
        self.cut = self.deepest = self.batch_size = 0
        self.front: Part
        """The device's part of the model."""
        self.back: Part
        """The server's part, private copy and common blocks together."""
        self.weights: Weights = {}
        """Weights of the blocks on the device."""
        self.state: State = ()
        """State of the device's optimiser."""
        self.private: Weights | None = None
        """Weights of the private copy; None where nothing is trained between the user's cut and the deepest."""
        self.private_state: State = ()
        """State of the private copy's optimiser."""
        self.position = 0
        """Position in the user's sequence of samples at which its next mini-batch begins."""
        self.interval = -1
        """The interval for which the device has downloaded its part; -1 before its first download."""
        self.downloaded = 0
        """Number of blocks of the part that it downloaded last."""
        self._private_gradients: Weights = {}

    def assign(self, cut: int, batch_size: int) -> None:
        """Begin an interval at the weights aggregated last.

        The state of an optimiser is not sent: a part that has other blocks than before starts with an initial state.

        Args:
            cut: blocks on the device.
            batch_size: samples of a full mini-batch.
        """
        world, deepest = self.world, self.server.deepest
        if cut != self.cut:
            self.state = _fresh_state(world, world.optimiser, 0, cut)
        if (cut, deepest) != (self.cut, self.deepest):
            self.private_state = _fresh_state(world, world.optimiser, cut, deepest)
        self.cut, self.deepest, self.batch_size = cut, deepest, batch_size
        self.front, self.back = world.chain.cut(cut)
        self.weights = self._part(0, cut)
        self.private = self._part(cut, deepest) if _trains(world, cut, deepest) else None

    @property
    def mini_batch(self) -> range:
        """Positions of the next mini-batch in the user's sequence of samples; fewer at the end of an epoch."""
        return self.user.batches.cut(self.position, self.batch_size)

    def to_download(self) -> dict[str, Weights]:
        """Weights of the device part by kind of message: blocks that the device had before, and new ones."""
        known = min(self.downloaded, self.cut) or self.cut
        parts = {"model": self._part(0, known)}
        if _trains(self.world, known, self.cut):
            parts["migration"] = self._part(known, self.cut)
        return parts

    def serve(self, user: User, z: Smashed, y: Rows) -> Process[Smashed]:
        """The server's side of an exchange: passes through private copy and common blocks, whose gradients are kept.

        Args:
            user: the user.
            z: its smashed data, (samples, ...).
            y: labels, (samples,).

        Returns:
            The cut-layer gradient, in the shape of `z`.
        """
        common = self.server.common
        if self.private is None:
            return (yield from common.serve(user, z, y, self.back))
        work = (operators.back_gradients, self.back, self.private, common.weights, z, y)
        self._private_gradients, gradients, dz = yield from user.server.do(*work, kind="server_step", user=user)
        common.add(user, gradients)
        return dz

    def step(self) -> None:
        """Take an optimiser step of the private copy along its own gradient."""
        if self.private is not None:
            step = (steps.apply_mean, self.world.optimiser, self.private, self.private_state)
            self.private, self.private_state = self.world.executor.submit(*step, [self._private_gradients], (1.0,))
            self._private_gradients = {}

    @property
    def own(self) -> Weights:
        """Weights of all of the user's own blocks."""
        if self.private is None:
            return self.weights
        return self.world.executor.submit(steps.merge, self.weights, self.private)

    def _part(self, start: int, stop: int) -> Weights:
        return self.world.executor.submit(steps.part, self.server.own, start, stop)


def _trains(world: World, start: int, stop: int) -> bool:
    """Whether any parameter of blocks `start` to `stop` (exclusive) is trained."""
    return bool(steps.part(world.whole.parameters(), start, stop))


def _fresh_state(world: World, optimiser: Optimiser, start: int, stop: int) -> State:
    """Initial state of an optimiser for blocks `start` to `stop` (exclusive)."""
    shapes = steps.part(world.whole.parameters(), start, stop)
    weights = {name: torch.zeros(shape.shape, dtype=world.precision) for name, shape in shapes.items()}
    return optimiser.init(weights) if weights else ()
