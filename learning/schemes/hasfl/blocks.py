"""What server and users hold under HASFL: common blocks, and the users' own ones, on the device or at the server."""

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

    It begins undivided, with all blocks common.
    """

    def __init__(self, world: World) -> None:
        self.world, self.deepest = world, 0
        self.own: Weights = {}
        """Weights of the users' own blocks, from the first to the deepest cut."""
        self.common = JointPart(world, world.initial(world.whole), ())
        """The blocks above, on which all users' gradients meet."""

    @property
    def whole(self) -> Weights:
        """Weights of all blocks."""
        return self.world.executor.submit(steps.merge, self.own, self.common.weights)

    def divide(self, deepest: int) -> None:
        """From now on, blocks above the deepest cut are common; if these are others, their optimiser starts afresh."""
        if deepest == self.deepest:
            return
        world, whole, blocks = self.world, self.whole, self.world.chain.blocks
        self.own = world.executor.submit(steps.part, whole, 0, deepest)
        common = world.executor.submit(steps.part, whole, deepest, blocks)
        self.common = JointPart(world, common, _fresh_state(world, world.server_optimiser, deepest, blocks))
        self.deepest = deepest


class UserBlocks:
    """One user's own blocks: on its device up to its cut, from there to the deepest as a private copy at the server."""

    def __init__(self, user: User, server: ServerBlocks) -> None:
        self.user, self.server, self.world = user, server, server.world
        self.cut = self.deepest = self.batch_size = 0
        self.front: Part
        """The device's part of the model."""
        self.back: Part
        """The server's, private copy and common blocks together."""
        self.weights: Weights = {}
        """Of the blocks on the device."""
        self.state: State = ()
        """Of the device's optimiser."""
        self.private: Weights | None = None
        """Weights of the private copy; None where nothing trains between the user's cut and the deepest."""
        self.private_state: State = ()
        self.position = 0
        """Place in the user's sequence of samples at which its next mini-batch begins."""
        self.interval = -1
        """The interval for which the device has downloaded its part; -1 before its first download."""
        self.downloaded = 0
        """Blocks of the part that it downloaded last."""
        self._private_gradients: Weights = {}

    def assign(self, cut: int, batch_size: int) -> None:
        """Begin an interval with this cut and size of a whole mini-batch, at the weights aggregated last.

        An optimiser's state does not travel: a part that is of other blocks than before starts with a fresh one.
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
        """Places of the next mini-batch in the user's sequence of samples; fewer at the end of an epoch."""
        return self.user.batches.cut(self.position, self.batch_size)

    def to_download(self) -> dict[str, Weights]:
        """Weights of the device part by kind of message: blocks that the device had before, and those that are new."""
        known = min(self.downloaded, self.cut) or self.cut
        parts = {"model": self._part(0, known)}
        if _trains(self.world, known, self.cut):
            parts["migration"] = self._part(known, self.cut)
        return parts

    def serve(self, user: User, z: Smashed, y: Rows) -> Process[Smashed]:
        """Forward and backward pass through private copy and common blocks; their gradients are kept for the step."""
        common = self.server.common
        if self.private is None:
            return (yield from common.serve(user, z, y, self.back))
        work = (operators.back_gradients, self.back, self.private, common.weights, z, y)
        self._private_gradients, gradients, dz = yield from user.server.do(*work, kind="server_step", user=user)
        common.add(user, gradients)
        return dz

    def step(self) -> None:
        """The private copy goes a step along its own gradient."""
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
    """Whether anything trains in blocks `start` to `stop` (exclusive)."""
    return bool(steps.part(world.whole.parameters(), start, stop))


def _fresh_state(world: World, optimiser: Optimiser, start: int, stop: int) -> State:
    """State of an optimiser before the first step of these blocks."""
    shapes = steps.part(world.whole.parameters(), start, stop)
    weights = {name: torch.zeros(shape.shape, dtype=world.precision) for name, shape in shapes.items()}
    return optimiser.init(weights) if weights else ()
