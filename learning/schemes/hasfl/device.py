"""A user under HASFL: its part of the model on the device, and the rest of its own blocks at the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from learning import steps
from learning.parties import PLAIN, User
from learning.ports import Process
from learning.schemes.hasfl.model import fresh_state, names
from learning.world import World


@dataclass
class Device:
    """A user's own blocks, from the first to the deepest cut of all."""

    weights: Any = None
    """Of the blocks on the device."""
    state: Any = None
    private: Any = None
    """Weights of the blocks between its cut and the deepest; None where there are none."""
    private_state: Any = None
    cut: int = 0
    deepest: int = 0
    batch_size: int = 0
    """Samples in a whole mini-batch."""
    position: int = 0
    """In the user's sequence of samples, where its next mini-batch begins."""
    interval: int = -1
    """The interval for which it has received the device part."""
    held: int = 0
    """Blocks of the device part that it received last; none at first."""

    def assign(self, world: World, own: Any, cut: int, deepest: int, batch_size: int) -> None:
        """What is the user's in an interval.

        An optimiser's state does not travel: a part that is of other blocks than before starts with a fresh one.
        """
        if cut != self.cut:
            self.state = fresh_state(world, world.optimiser, 0, cut)
        if (cut, deepest) != (self.cut, self.deepest):
            self.private_state = fresh_state(world, world.optimiser, cut, deepest)
        self.cut, self.deepest, self.batch_size = cut, deepest, batch_size
        self.weights = world.executor.submit(steps.part, own, 0, cut)
        between = bool(names(world, cut, deepest))
        self.private = world.executor.submit(steps.part, own, cut, deepest) if between else None

    def mini_batch(self, user: User) -> range:
        """The next one, smaller at the end of an epoch where the scenario has it so."""
        return user.batches.cut(self.position, self.batch_size)

    def receive(self, world: World, user: User, interval: int) -> Process[Any]:
        """The device part comes down; what is new of it, where the cut is deeper than before, as a migration."""
        known = min(self.held, self.cut) or self.cut
        submit = world.executor.submit
        parts = [("model", submit(steps.part, self.weights, 0, known))]
        if names(world, known, self.cut):
            parts.append(("migration", submit(steps.part, self.weights, known, self.cut)))
        received = []
        for kind, each in parts:
            received.append((yield from world.server.send(user, each, kind)))
        self.weights = submit(steps.merge, *received)
        self.interval, self.held = interval, self.cut

    def step_private(self, world: World, gradients: Any) -> None:
        """The private copy goes a step along its own gradient."""
        step = (steps.apply_mean, world.optimiser, self.private, self.private_state, [gradients], (1.0,))
        self.private, self.private_state = world.executor.submit(*step)

    def own(self, world: World) -> Any:
        """All blocks that are the user's."""
        return self.weights if self.private is None else world.executor.submit(steps.merge, self.weights, self.private)

    def private_bits(self, world: World) -> int:
        """Size of the private copy."""
        return 0 if self.private is None else world.server.wire.bits(self.private, PLAIN)
