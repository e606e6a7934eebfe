"""Local training on the whole model: download, train, upload, average."""

from __future__ import annotations

from collections.abc import Callable

from learning import steps
from learning.adapters import Model
from learning.data import Inputs, Rows
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.updates import merge
from learning.states import States
from learning.steps import State, Weights
from learning.world import World

Trained = Process[tuple[Weights, State]]
"""Local training, which returns the trained model and the state of its optimiser."""
Train = Callable[[User, Weights, State, list[Inputs], list[Rows]], Trained]
"""Local training of a user: (user, model, optimiser state, stacks of mini-batches, stacks of labels)."""


def federated(world: World, training: LocalTraining, rule: str, train: Train) -> Process[None]:
    """Train the whole model by downloads, local training, uploads and averaging until the rounds are over.

    Optimiser states stay on the devices. A local round whose upload does not arrive changes no state.

    Args:
        world: the world.
        training: how many mini-batches a local round has.
        rule: weighting of the users, `by_samples` or `uniform`.
        train: local training of one user.
    """
    model: Weights
    model = world.initial(world.whole)
    states: States[State] = States(world.optimiser.init(model))
    cohort = assemble(
        world, lambda user, number, model: local_round(world, user, number, model, states, training, train)
    )
    for number in world.rounds():
        updates = yield from cohort.updates(number, model)
        model = yield from merge(world, model, updates, rule)
        world.models(model)


def local_round(
    world: World,
    user: User,
    number: int,
    model: Weights,
    states: States[State] | dict[User, State],
    training: LocalTraining,
    train: Train,
) -> Process[Weights]:
    """Download of a model, local training number `number` of a user, upload; returns what the server receives."""
    model = yield from user.server.send(user, model, "model")
    data = training.stacks(world, user, number)
    model, state = yield from train(user, model, states[user], *data)
    model = yield from user.send(user.server, model, "model")
    states[user] = state
    return model


def descend(
    world: World, whole: Model, user: User, model: Weights, state: State, x: list[Inputs], y: list[Rows]
) -> Trained:
    """Plain local steps; with `world` and `whole` given, a `Train`."""
    work = (steps.train, whole, world.optimiser, model, state, x, y)
    model, state, _ = yield from user.do(*work, kind="client_training")
    return model, state
