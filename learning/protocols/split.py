"""The exchange of one mini-batch over a cut model, and the parts of the model that devices and servers train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, NamedTuple

from annotated_types import Ge
from torch.utils._pytree import tree_leaves

from learning import steps
from learning.codecs import Analogue, Bundle, Codec, FixedWidth, Identity
from learning.data import Inputs, Rows
from learning.deployed import Deployed
from learning.draws import Draw
from learning.executor.deferred import Value, specification
from learning.parties import User
from learning.ports import Process
from learning.reducers import Reduced, TokenReducer, check_tokens
from learning.steps import Batch, Part, State, Weights
from learning.training_mode import training_input
from learning.world import World

Smashed = Value[Batch]
"""Smashed data or their gradient, (samples, ...); of several modalities one array each."""
Serve = Callable[[User, Smashed, Rows], Process[Smashed]]
"""The server's side of an exchange, (user, smashed data, labels): a process that returns the cut-layer gradient."""


@dataclass(frozen=True)
class CutLink:
    """Messages across the cut: which tokens are sent, and the codecs of smashed data, labels and gradients."""

    tokens: TokenReducer | None = None
    """Which tokens of a transformer's smashed data are sent (default: all)."""
    activations: Codec = Identity()
    """Codec of the smashed data (user to server)."""
    gradients: Codec = Identity()
    """Codec of the cut-layer gradients (server to user)."""
    label_bits: Annotated[int, Ge(0)] = 64
    """Bits of one sample's label, sent along with the smashed data."""

    @property
    def upload(self) -> Bundle:
        """Codec of an upload: a pair of smashed data and labels."""
        return Bundle((self.activations, FixedWidth(self.label_bits)))

    def deployed(self, cut: int | None = None) -> Deployed:
        """What evaluated samples undergo over this link, with `cut` blocks on the device (default: the world's)."""
        return Deployed(self.tokens, self.activations, cut)

    def __post_init__(self) -> None:
        if isinstance(self.gradients, Analogue):
            raise ValueError("gradients go to the user, and analogue messages go from users to servers only")

    def check(self, world: World) -> None:
        """Raises ValueError where no tokens that are to be reduced, or no analogue messages, can cross the cut."""
        check_analogue(self.activations, world)
        if self.tokens is not None and getattr(world.front, "training_layers", None):
            raise ValueError("tokens are reduced behind blocks without dropout only; leave out link.tokens")
        if self.tokens is not None:
            check_tokens(self.tokens, world.front, world.dataset.train.x)

    def reduced(self, world: World, user: User, front: Part, weights: Weights, x: Inputs) -> Part:
        """The device's part of the model with the link's token reducer at its end, if it has one.

        Args:
            world: the world, for shapes and draws.
            user: whose draws a random reducer takes.
            front: the device's part of the model.
            weights: its weights, of which only the shapes matter.
            x: the mini-batch.
        """
        if self.tokens is None:
            return front
        if not self.tokens.random:
            return Reduced(front, self.tokens)
        z = world.executor.plan(steps.front, front, weights, x).profile.outputs[0].tree
        return Reduced(front, self.tokens, token_draw(world, user, x, *z.shape[:2]))


def check_analogue(codec: Codec, world: World) -> None:
    """Raises ValueError where a codec sends analogue messages, and a user's uplink cannot carry them."""
    if isinstance(codec, Analogue) and not all(user.node.uplink.carries_analogue for user in world.users):
        raise ValueError("analogue messages need the fidelity flow, and a radio whose rates are not recorded")


def token_draw(world: World, user: User, x: Inputs, samples: int, tokens: int) -> Draw:
    """Uniform numbers (samples, tokens - 1) by which a reducer chooses tokens at random; the class token needs none."""
    batch = blake2b(b"".join(rows.identity for rows in tree_leaves(x)), digest_size=8).hexdigest()
    return Draw(world.streams, "tokens", (user.number, batch), (samples, tokens - 1), world.precision)


def exchange(
    world: World,
    link: CutLink,
    user: User,
    weights: Weights,
    state: State,
    batch: tuple[Inputs, Rows],
    serve: Serve,
    front: Part | None = None,
    position: int | None = None,
) -> Process[tuple[Weights, State]]:
    """Forward pass, smashed data and labels up, the server's passes, gradient down, backward pass and step.

    If nothing on the device trains, no gradient comes down.

    Args:
        world: the world.
        link: codecs and token reducer.
        user: the user.
        weights: the weights of its part of the model.
        state: the state of its optimiser.
        batch: samples and labels of the mini-batch.
        serve: the server's side.
        front: the user's part of the model (default: `world.front`).
        position: number of the mini-batch in the user's sequence, which names the draws of layers of dropout in
            `world.front` and `world.back`; a scheme that declares `training_layers` gives it.

    Returns:
        The user's new weights and optimiser state.
    """
    x, y = batch
    if position is not None:
        x = training_input(world, world.front, x, user.number, position)
    sent = yield from upload(world, link, user, weights, (x, y), front)
    z = sent.z if position is None else training_input(world, world.back, sent.z, user.number, position)
    dz = yield from serve(user, z, sent.y)
    return (yield from download(world, link, user, weights, state, sent, dz))


class Sent(NamedTuple):
    """A mini-batch whose smashed data the server has."""

    front: Part
    """The device's part of the model, with the token reducer of the link."""
    x: Inputs
    """Samples, (samples, ...)."""
    z: Smashed
    """Smashed data as the server received them, (samples, ...)."""
    y: Rows
    """Labels, (samples,)."""


def upload(
    world: World,
    link: CutLink,
    user: User,
    weights: Weights,
    batch: tuple[Inputs, Rows],
    front: Part | None = None,
) -> Process[Sent]:
    """The first half of an exchange: forward pass, smashed data and labels up. Arguments as in `exchange`."""
    x, y = batch
    front = link.reduced(world, user, world.front if front is None else front, weights, x)
    z = yield from user.do(steps.front, front, weights, x, kind="client_forward")
    z, y = yield from user.send(user.server, (z, y), "activation", link.upload)
    return Sent(front, x, z, y)


def download(
    world: World, link: CutLink, user: User, weights: Weights, state: State, sent: Sent, dz: Smashed
) -> Process[tuple[Weights, State]]:
    """The second half of an exchange: cut-layer gradient `dz` down, backward pass and step. Returns as `exchange`."""
    if not specification(weights).leaves:
        return weights, state
    dz = yield from user.server.send(user, dz, "gradient", link.gradients)
    step = (steps.update_front, sent.front, world.optimiser, weights, state, sent.x, dz)
    return (yield from user.do(*step, kind="client_backward"))


class ServerPart:
    """A server part that takes a step on every mini-batch: one that all users share, or a replica for each.

    Args:
        world: the world, with the server's optimiser.
        weights: initial weights.
        state: initial state of the optimiser.
        back: the part of the model (default: `world.back`).
    """

    def __init__(self, world: World, weights: Weights, state: State, back: Part | None = None) -> None:
        self.world, self.weights, self.state = world, weights, state
        self.back = world.back if back is None else back

    def serve(self, user: User, z: Smashed, y: Rows) -> Process[Smashed]:
        """Forward and backward pass and a step on the weights as they are when the server has finished this work."""
        work = (steps.back, self.back, self.world.server_optimiser)
        yield from user.server.spend(*work, self.weights, self.state, z, y, kind="server_step", user=user)
        self.weights, self.state, dz, _ = self.world.executor.submit(*work, self.weights, self.state, z, y)
        return dz


class JointPart:
    """A server part on which the gradients of all users of a round meet: one step a round, on their weighted mean.

    Its weights do not change until `step`, so every mini-batch of a round is served by the same ones. A user has one
    mini-batch a round.

    Args:
        world: the world, with the server's optimiser.
        weights: initial weights.
        state: initial state of the optimiser.
        back: the part of the model (default: `world.back`).
    """

    def __init__(self, world: World, weights: Weights, state: State, back: Part | None = None) -> None:
        self.world, self.weights, self.state = world, weights, state
        self.back = world.back if back is None else back
        self._gradients: dict[User, Weights] = {}

    def serve(self, user: User, z: Smashed, y: Rows, back: Part | None = None) -> Process[Smashed]:
        """Forward and backward pass of a user's mini-batch, whose gradients are kept for the step.

        `back` is the part of the model of a user whose cut is another one (default: that of the constructor).
        """
        work = (steps.back_gradients, self.back if back is None else back, self.weights, z, y)
        gradients, dz, _ = yield from user.server.do(*work, kind="server_step", user=user)
        self.add(user, gradients)
        return dz

    def add(self, user: User, gradients: Weights) -> None:
        """Keep a user's gradients for the step, where an operation other than that of `serve` has computed them."""
        self._gradients[user] = gradients

    def step(self, users: Sequence[User], weights: tuple[float, ...]) -> None:
        """Take one optimiser step on the weighted mean of these users' gradients; none without users.

        Gradients of other users, such as those dropped from the round, are discarded.

        Args:
            users: the users, in the order in which their gradients are summed.
            weights: a weight for each of them.
        """
        kept, self._gradients = self._gradients, {}
        if users:
            gradients = [kept[user] for user in users]
            step = (steps.apply_mean, self.world.server_optimiser, self.weights, self.state, gradients, weights)
            self.weights, self.state = self.world.executor.submit(*step)


@dataclass
class DevicePart:
    """The part of a cut model that a user trains on its device, and the state of its optimiser."""

    weights: Weights
    state: State
    interval: int = -1
    """Number of the latest interval for which the user has downloaded the part; -1 before its first download."""

    def first_download(self, user: User) -> Process[None]:
        """Download of the part before the user's first round, where devices then keep it."""
        if self.interval < 0:
            self.weights = yield from user.server.send(user, self.weights, "model")
            self.interval = 0
