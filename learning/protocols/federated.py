"""Local training on the whole model: download, train, upload, average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from learning import steps
from learning.adapters import Model
from learning.data import Inputs, Rows
from learning.local_training import LocalTraining
from learning.models import Segment
from learning.parties import User
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.model_codecs import ModelCodecs
from learning.protocols.updates import merge
from learning.states import States
from learning.steps import Parameters, State, Weights
from learning.world import World

Trained = Process[tuple[Weights, State]]
"""Local training, which returns the trained model and the state of its optimiser."""
Train = Callable[[User, Weights, State, list[Inputs], list[Rows]], Trained]
"""Local training of a user: (user, model, optimiser state, stacks of mini-batches, stacks of labels)."""

PLAIN = ModelCodecs()


def federated(
    world: World, training: LocalTraining, rule: str, train: Train, codecs: ModelCodecs = PLAIN
) -> Process[None]:
    """Train the whole model by downloads, local training, uploads and averaging until the rounds are over.

    Optimiser states stay on the devices. A local round whose upload does not arrive changes no state.

    Args:
        world: the world.
        training: how many mini-batches a local round has.
        rule: weighting of the users, `by_samples` or `uniform`.
        train: local training of one user.
        codecs: of downloads and uploads.
    """
    model: Weights
    model = world.initial(world.whole)
    if names := own_names(world):
        yield from _with_own_norms(world, training, rule, train, codecs, model, names)
        return
    states: States[State] = States(world.optimiser.init(model))
    cohort = assemble(
        world, lambda user, number, model: local_round(world, user, number, model, states, training, train, codecs)
    )
    for number in world.rounds():
        updates = yield from cohort.updates(number, model)
        model = yield from merge(world, model, updates, rule)
        world.models(model)


def own_names(world: World) -> list[str]:
    """Names of the parameters that each user keeps to itself (`learning.batch_norm`)."""
    if world.batch_norm == "averaged" or not isinstance(world.whole, Segment):
        return []
    return world.whole.norms(statistics=world.batch_norm == "local_statistics")


def _with_own_norms(
    world: World,
    training: LocalTraining,
    rule: str,
    train: Train,
    codecs: ModelCodecs,
    model: Parameters,
    names: list[str],
) -> Process[None]:
    """`federated`, where each user keeps the parameters with these names to itself."""
    # All of the layers: FedBN, Li et al., ICLR 2021. Their running statistics alone: SiloBN, Andreux et al., 2020.
    shared: Weights
    shared, own = parted(model, names)
    states: States[tuple[State, Weights]] = States((world.optimiser.init(model), own))

    def with_own(user: User, model: Weights, state: Any, x: list[Any], y: list[Rows]) -> Process[tuple[Weights, Any]]:
        optimiser_state, own = state
        whole: Weights = world.executor.submit(steps.merge, model, own)
        whole, optimiser_state = yield from train(user, whole, optimiser_state, x, y)
        model, own = world.executor.submit(parted, whole, names)
        return model, (optimiser_state, own)

    cohort = assemble(
        world, lambda user, number, model: local_round(world, user, number, model, states, training, with_own, codecs)
    )
    for number in world.rounds():
        updates = yield from cohort.updates(number, shared)
        shared = yield from merge(world, shared, updates, rule)
        world.models(*((shared, states[user][1]) for user in world.users))


def parted(parameters: Parameters, names: list[str]) -> tuple[Parameters, Parameters]:
    """All parameters but those with the given names, and these."""
    rest = {name: value for name, value in parameters.items() if name not in names}
    return rest, {name: parameters[name] for name in names}


def local_round(
    world: World,
    user: User,
    number: int,
    model: Weights,
    states: States[Any] | dict[User, Any],
    training: LocalTraining,
    train: Train,
    codecs: ModelCodecs = PLAIN,
) -> Process[Weights]:
    """Download of a model, local training number `number` of a user, upload; returns what the server receives."""
    model = yield from user.server.send(user, model, "model", codecs.download)
    data = training.stacks(world, user, number)
    model, state = yield from train(user, model, states[user], *data)
    model = yield from user.send(user.server, model, "model", codecs.upload)
    states[user] = state
    return model


def descend(
    world: World, whole: Model, user: User, model: Weights, state: State, x: list[Inputs], y: list[Rows]
) -> Trained:
    """Plain local steps; with `world` and `whole` given, a `Train`."""
    work = (steps.train, whole, world.optimiser, model, state, x, y)
    model, state, _ = yield from user.do(*work, kind="client_training")
    return model, state
