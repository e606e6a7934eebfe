"""Training of the model on labelled windows, before simulated time begins and beside the answers."""

from __future__ import annotations

from typing import Any

import torch

from learning import steps
from learning.data import Batches
from learning.draws import Draw
from learning.models import Multimodal
from learning.ports import Process
from learning.schemes.dual_health import operators
from learning.schemes.dual_health.losses import Losses
from learning.steps import State, Weights
from learning.world import World


class Training:
    """The model in training at the server, on the training samples of all users, which are there from the start.

    Args:
        world: the world, with the server's optimiser.
        model: the whole model.
        losses: terms of the loss.
        first_stage: number of steps without fusion.
    """

    def __init__(self, world: World, model: Multimodal, losses: Losses, first_stage: int) -> None:
        self.world, self.model, self.losses, self.first_stage = world, model, losses, first_stage
        initial = world.initial(model)
        self.prior = next(name for name in initial if name.endswith(".prior.value"))
        """Name of the parameter with the logits of the prior of the classes."""
        samples = torch.bincount(world.dataset.train.y, minlength=world.dataset.classes) + 1  # no class is impossible
        initial[self.prior] = (samples / samples.sum()).log().to(initial[self.prior].dtype)
        self._set(initial, world.server_optimiser.init(initial))
        self.batches = Batches.pooled([user.batches for user in world.users])
        self.done = 0
        """Steps so far."""

    def part(self, name: str) -> Weights:
        """The weights of a part of the model, as trained so far."""
        if name not in self._parts:
            own = tuple(self.world.parts[name].parameters())
            self._parts[name] = self.world.executor.submit(steps.named, self.weights, own)
        return self._parts[name]

    def before(self, count: int) -> None:
        """Take steps before simulated time begins; they take no time."""
        for _ in range(count):
            self._set(*self.world.executor.submit(*self._step()))

    def beside(self, count: int) -> Process[None]:
        """Take steps at the server, one after another, in its queue."""
        for _ in range(count):
            self._set(*(yield from self.world.server.do(*self._step(), kind="server_training")))

    def _set(self, weights: Weights, state: State) -> None:
        self.weights, self.state = weights, state
        self._parts: dict[str, Weights] = {}

    def _step(self) -> tuple[Any, ...]:
        """The operation of the next step, with its arguments."""
        number, joint = self.done, self.done >= self.first_stage
        self.done += 1
        x, y = self.batches.at(number)
        towers, streams, precision = self.model.towers.towers, self.world.streams, self.world.precision
        shapes = {
            "features": (len(y.indices), len(towers), towers[0].classes),
            "dropout": (len(y.indices), len(towers)),
        }
        draws = [Draw(streams, f"{what} of training", (number,), shape, precision) for what, shape in shapes.items()]
        work = operators.train, self.model, self.world.server_optimiser, self.losses, joint
        return (*work, self.weights, self.state, (x, *draws), y)
