"""A user's device: the towers of the modalities that it holds."""

from __future__ import annotations

from typing import Any, NamedTuple

from learning import steps
from learning.codecs import Codec
from learning.data import Modalities, Rows
from learning.executor.deferred import Deferred
from learning.models import Multimodal, Towers
from learning.parties import User
from learning.ports import Process
from learning.protocols.token_stages import operators
from learning.steps import State, Weights
from learning.world import World


class Sent(NamedTuple):
    """A mini-batch whose tokens the base station has."""

    x: Modalities
    """Samples, as the towers have read them."""
    tokens: Deferred[operators.Tokens]
    """Tokens as they were received."""
    y: Rows
    """Labels."""


class Device:
    """The towers of a user's modalities, and what trains of them.

    Args:
        world: the world, with the devices' optimiser.
        model: the whole model.
        user: the user.
    """

    def __init__(self, world: World, model: Multimodal, user: User) -> None:
        self.world, self.user = world, user
        self.read_by(model)
        self.names = tuple(tower.name for tower in self.trained.towers)
        """Their modalities."""
        self._initial = {name: value for each in self.names for name, value in world.initial(world.parts[each]).items()}
        self.weights: Weights = self._initial
        self.fresh: Weights | None = None
        """Weights that the device is to download before its next mini-batch, such as means; None if there are none."""
        self.begin_stage()

    def read_by(self, model: Multimodal) -> None:
        """Read samples by the towers of this model from now on: the same ones with other reducers of tokens."""
        held = [tower for tower in model.towers.towers if tower.name in self.user.batches.modalities]
        self.towers = Towers(tuple(held))
        self.trained = Towers(tuple(tower for tower in held if tower.parameters()))
        """The towers of which something trains."""

    def begin_stage(self) -> None:
        """Train with a new state of the optimiser from now on."""
        self.state: State = self.world.optimiser.init(self._initial)

    def projection(self, name: str) -> Weights:
        """What trains of the tower of one modality."""
        return self.world.executor.submit(steps.named, self.weights, tuple(self.world.parts[name].parameters()))

    def upload(self, batch: tuple[Modalities, Rows], wire: Codec) -> Process[Sent]:
        """Tokens of a mini-batch of the user's modalities, forward and up to the base station."""
        if self.fresh is not None:
            self.weights = yield from self.world.server.send(self.user, self.fresh, "model")
            self.fresh = None
        x, y = batch
        z = yield from self.user.do(operators.tokens, self.towers, self.weights, x, kind="client_forward")
        z = yield from self.user.send(self.world.server, z, "tokens", wire)
        return Sent(x, z, y)

    def download(self, x: Modalities, dz: Any, codec: Codec) -> Process[None]:
        """The gradient of the user's tokens, down; backward pass and step. Nothing where nothing trains."""
        if not self.names:
            return
        own = self.world.executor.submit(steps.named, dz, self.names)
        own = yield from self.world.server.send(self.user, own, "gradient", codec)
        step = (steps.update_front, self.trained, self.world.optimiser, self.weights, self.state, x, own)
        self.weights, self.state = yield from self.user.do(*step, kind="client_backward")
