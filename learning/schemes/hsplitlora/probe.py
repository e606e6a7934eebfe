"""A probe of HSplitLoRA: a training step in which device and server score the importance of their weights."""

from __future__ import annotations

from learning import steps
from learning.adapters import Bound
from learning.codecs import FixedWidth
from learning.control.ranks.importance import back_scores, front_scores
from learning.data import Inputs, Rows
from learning.parties import User
from learning.ports import Process
from learning.protocols.split import CutLink, ServerPart, Smashed, exchange
from learning.steps import State, Weights
from learning.world import World

SCORE = FixedWidth(32)
"""Codec of the importance of a weight."""


def probed_exchange(
    world: World,
    link: CutLink,
    user: User,
    adapters: Weights,
    state: State,
    batch: tuple[Inputs, Rows],
    replica: ServerPart,
    front: Bound,
    back: Bound,
    costs: dict[str, float],
) -> Process[tuple[Weights, State, Weights]]:
    """An `exchange` in which device and server score the importance of their weights as they were before the step.

    Where nothing on the device is trained, the cut-layer gradient is sent for the scores alone.

    Args:
        world: the world.
        link: codecs of the messages.
        user: the user.
        adapters: trained parameters of the device's part.
        state: state of the device's optimiser.
        batch: samples and labels of the mini-batch.
        replica: the user's server part.
        front: the device's part of the model.
        back: the server's part of the model.
        costs: relative cost of each weight, by its name.

    Returns:
        New parameters and optimiser state of the device, and the score of each weight by its name.
    """
    seen: list[tuple[Smashed, Weights]] = []

    def serve(user: User, z: Smashed, y: Rows) -> Process[Smashed]:
        scoring = (back_scores, back.adapted, costs, replica.weights, back.frozen, z, y)
        gradient = yield from replica.serve(user, z, y)
        seen.append((gradient, (yield from world.server.do(*scoring, kind="probe", user=user))))
        return gradient

    trained, state = yield from exchange(world, link, user, adapters, state, batch, serve, front)
    ((gradient, above),) = seen
    if not front.parameters():
        gradient = yield from world.server.send(user, gradient, "gradient", link.gradients)
    scoring = (front_scores, front.adapted, costs, adapters, front.frozen, batch[0], gradient)
    below = yield from user.do(*scoring, kind="probe")
    below = yield from user.send(world.server, below, "importance", SCORE)
    return trained, state, world.executor.submit(steps.merge, below, above)
