"""Rounds of local training on the whole model: download, train, upload, average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from learning.parties import Promise, User
from learning.protocols.average import average
from learning.protocols.rounds import gather
from learning.world import World

Train = Callable[..., Promise]
"""(user, model, optimiser state, batches, labels): local training, a generator that returns (model, state)."""


def federated(world: World, local_steps: int | None, rule: str, train: Train) -> Promise:
    """Train until the rounds are over.

    Optimiser states stay on the devices; what a dropped user did in a round is lost.
    """
    model = world.initial(world.whole)
    states: dict[User, Any] = dict.fromkeys(world.users, world.optimiser.init(model))
    for number in world.rounds():
        work = {u: _user(world, u, number, model, states[u], local_steps, train) for u in world.selected(number)}
        done = yield from gather(world, work)
        states.update({user: state for user, (_, state) in done.items()})
        if done:
            models = [model for model, _ in done.values()]
            model = yield from average(world, models, world.weights(list(done), rule))
        world.models(model)


def _user(
    world: World, user: User, number: int, model: Any, state: Any, local_steps: int | None, train: Train
) -> Promise:
    model = yield from world.server.send(user, model, "model")
    steps = user.steps(local_steps)
    model, state = yield from train(user, model, state, *user.batches.stack(number * steps, steps))
    model = yield from user.send(world.server, model, "model")
    return model, state
