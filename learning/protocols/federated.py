"""Local training on the whole model: download, train, upload, average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from learning import steps
from learning.adapters import Model
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.updates import merge
from learning.world import World

Train = Callable[..., Process[Any]]
"""(user, model, optimiser state, stacks of mini-batches, stacks of labels): a generator that returns (model, state)."""


def federated(world: World, training: LocalTraining, rule: str, train: Train) -> Process[Any]:
    """Train until the rounds are over.

    Optimiser states stay on the devices; what a user did whose model never arrived is lost.
    """
    model = world.initial(world.whole)
    states: dict[User, Any] = dict.fromkeys(world.users, world.optimiser.init(model))
    cohort = assemble(world, lambda user, turn, model: turn_of(user, turn, model, states, training, train))
    for number in world.rounds():
        updates = yield from cohort.updates(number, model)
        model = yield from merge(world, model, updates, rule)
        world.models(model)


def turn_of(
    user: User, turn: int, model: Any, states: dict[User, Any], training: LocalTraining, train: Train
) -> Process[Any]:
    """Download of a model, local training, upload; what the server receives."""
    model = yield from user.server.send(user, model, "model")
    data = user.batches.stack(training.positions(user, turn))
    model, state = yield from train(user, model, states[user], *data)
    model = yield from user.send(user.server, model, "model")
    states[user] = state
    return model


def descend(world: World, whole: Model, user: User, model: Any, state: Any, x: Any, y: Any) -> Process[Any]:
    """Plain local steps, as a `Train` of a world and a model."""
    work = (steps.train, whole, world.optimiser, model, state, x, y)
    model, state, _ = yield from user.do(*work, kind="client_training")
    return model, state
