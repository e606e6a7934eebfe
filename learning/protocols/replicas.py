"""A part of the model that all devices hold, and change by the same steps from seeds and scalars alone.

No weights are sent: each device draws the directions of a round from their seeds, and steps along their sum with the
factors that the server broadcasts. A device that has missed rounds downloads their seeds and factors and repeats the
steps, or downloads weights and the state of the optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

from learning import zeroth_order
from learning.codecs import Bundle, FixedWidth
from learning.draws import Draw
from learning.executor.deferred import specification
from learning.parties import PLAIN, User
from learning.ports import Process
from learning.protocols.broadcast import Broadcast
from learning.protocols.rounds import gather
from learning.steps import Parameters, State, Weights
from learning.world import World
from learning.zeroth_order import Directions

CatchUp = Literal["replay", "download", "auto"]
"""How a device that has missed rounds gets the present weights; `auto` is what takes fewer bits."""


@dataclass(frozen=True)
class Scalars:
    """Sizes of messages of scalars."""

    bits: int = 32
    """Bits of a seed or a scalar."""
    header_bits: int = 256
    """Bits of the header of each message."""

    @property
    def codec(self) -> Bundle:
        """Codec of a pair (numbers, 0), in which the zero stands for the header."""
        return Bundle((FixedWidth(self.bits), FixedWidth(self.header_bits)))


class Step(NamedTuple):
    """What a step is made of."""

    differences: Any
    """For each group of directions, (P,): their factors; a list of tensors or deferred ones, or a deferred list."""
    us: list[list[dict[str, Draw]]]
    """For each group, the directions."""


@dataclass
class Replica:
    """What a device holds."""

    weights: Weights
    state: State
    version: int = -1
    """Number of steps that it has taken; -1 before it has the initial weights."""


class CommonPart:
    """The part of the model as it is after all steps so far, and the history of these.

    Args:
        world: the world, with the devices' optimiser.
        weights: initial weights.
        directions: law and number of directions.
        scalars: sizes of messages.
        catch_up: how devices that have missed rounds get the present weights.
    """

    def __init__(
        self, world: World, weights: Parameters, directions: Directions, scalars: Scalars, catch_up: CatchUp
    ) -> None:
        self.world, self.directions, self.scalars, self.catch_up = world, directions, scalars, catch_up
        self.weights: Weights = weights
        self.state: State = world.optimiser.init(weights)
        self._before: Weights = self.weights
        self.history: list[Step] = []
        self.replicas = {user: Replica(self.weights, self.state) for user in world.users}

    def draws(self, number: int, *user: int) -> list[dict[str, Draw]]:
        """The directions of a round, or of a user in it."""
        shapes = specification(self.weights).tree
        return self.directions.draws(self.world.streams, shapes, self.world.precision, number, *user)

    def seeds(self, users: list[User], groups: int) -> Broadcast:
        """Broadcast of the seeds of the round's directions, in so many groups."""
        seeds = torch.zeros(groups, self.directions.count, dtype=torch.int32)
        return Broadcast(self.world, users, (seeds, 0), "seeds", self.scalars.codec)

    def synchronise(self, user: User) -> Process[None]:
        """Bring a device's replica up to date."""
        replica, missed = self.replicas[user], self.history[max(self.replicas[user].version, 0) :]
        if replica.version < 0 or (missed and not self._replays(missed)):
            sent: Any = (self.weights, self.state) if missed else self.weights
            yield from self.world.server.send(user, sent, "model")
            replica.weights, replica.state = self.weights, self.state
        elif missed:
            entries, codec = self._entries(missed), self.scalars.codec
            yield from self.world.server.send(user, (entries, 0), "history", codec)
            steps = [step.differences for step in missed], [step.us for step in missed]
            work = (zeroth_order.replay, self.directions, self.world.optimiser, replica.weights, replica.state)
            replica.weights, replica.state = yield from user.do(*work, *steps, kind="replay")
        replica.version = len(self.history)

    def step(self, step: Step) -> None:
        """Take a step at the server, which keeps a copy of the part; devices take it in `follow`."""
        self.history.append(step)
        self._before = self.weights
        work = (zeroth_order.update, self.directions, self.world.optimiser, self.weights, self.state)
        self.weights, self.state = self.world.executor.submit(*work, *step)

    def follow(self, users: Sequence[User]) -> Process[list[User]]:
        """The latest step at the devices of these users, as soon as the broadcast of its factors has reached them.

        Returns the users that have taken it.
        """
        factors = Broadcast(self.world, users, (self.history[-1].differences, 0), "scalars", self.scalars.codec)
        done = yield from gather(self.world, {user: self._follow(user, factors) for user in users})
        yield from factors.withdraw()
        return [user for user, taken in done.items() if taken]

    def _follow(self, user: User, factors: Broadcast) -> Process[bool]:
        if not (yield from factors.reaches(user)):
            return False
        replica = self.replicas[user]
        work = (self.directions, self.world.optimiser, replica.weights, replica.state, *self.history[-1])
        if replica.weights is self._before:  # its step is that of the server's copy
            yield from user.spend(((zeroth_order.update, 1.0),), *work, kind="client_step")
            replica.weights, replica.state = self.weights, self.state
        else:
            replica.weights, replica.state = yield from user.do(zeroth_order.update, *work, kind="client_step")
        replica.version = len(self.history)
        return True

    def _replays(self, missed: list[Step]) -> bool:
        if self.catch_up != "auto":
            return self.catch_up == "replay"
        bits = self.world.server.wire.bits
        return bits((self._entries(missed), 0), self.scalars.codec) < bits((self.weights, self.state), PLAIN)

    def _entries(self, missed: list[Step]) -> Any:
        """Factors and seeds of steps, as they are sent."""
        seeds = [torch.zeros(len(step.us), self.directions.count, dtype=torch.int32) for step in missed]
        return [step.differences for step in missed], seeds
