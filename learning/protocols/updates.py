"""What users hand in, and what servers make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from learning.adapters import Adapted
from learning.adapters.combine import mean_by_product
from learning.aggregators import averaged
from learning.executor.deferred import specification
from learning.parties import Message, Server, User
from learning.ports import Process
from learning.steps import Weights
from learning.world import World

M = TypeVar("M", bound=Message)
"""What users hand in: weights, or a tuple of those of several parts of a model."""

Work = Callable[[User, int, M], Process[M]]
"""What a user does in its turn of a number with a model: download, work, upload. Returns what the server receives."""


class Update(NamedTuple, Generic[M]):
    """What one user made of one model."""

    user: User
    turn: int
    model: M
    """What the server received: a tree of weights, or a tuple of parts of a model."""
    base: M
    """The server's model from which it was made, likewise."""
    staleness: int
    """How often the server has changed its model between this download and now."""


def of_part(updates: Sequence[Update[tuple[Weights, Weights]]], number: int) -> list[Update[Weights]]:
    """What users made of one of a model's two parts: of the device's (0) or of the server's (1)."""
    return [Update(each.user, each.turn, each.model[number], each.base[number], each.staleness) for each in updates]


def merge(
    world: World, model: Weights, updates: Sequence[Update[Weights]], rule: str, by_product: Adapted | None = None
) -> Process[Weights]:
    """The aggregator's next model, as the policy makes it; without updates, or where nothing of it trains, the same.

    Servers that it is not average what their users handed in, side by side, and send it on. Where the updates are those
    of a part whose adapters are to be averaged by what they do, `by_product` is that part.
    """
    if not updates or not specification(model).leaves:
        return model
    weights = world.weights([update.user for update in updates], rule)
    updates, weights = yield from _collected(world, updates, weights)
    _, _, arrived, bases, staleness = zip(*updates, strict=True)
    if by_product is not None:
        return (yield from world.server.do(mean_by_product, by_product, list(arrived), weights, kind="aggregation"))
    work = world.policy.merging(model, arrived, bases, weights, staleness)
    return (yield from world.server.do(*work, kind="aggregation"))


def _collected(
    world: World, updates: Sequence[Update[Weights]], weights: Sequence[float]
) -> Process[tuple[Sequence[Update[Weights]], tuple[float, ...]]]:
    """Updates and weights as the aggregator gets them: those of its own users, then one from each other server."""
    theirs: dict[Server, list[tuple[Update[Weights], float]]] = {}
    for update, weight in zip(updates, weights, strict=True):
        theirs.setdefault(update.user.server, []).append((update, weight))
    means = [_mean(world, server, own) for server, own in theirs.items() if server is not world.server]
    if not means:
        return updates, tuple(weights)
    done = yield world.env.all_of([world.env.process(mean) for mean in means])
    updates, shares = zip(*theirs.get(world.server, []), *done.values(), strict=True)
    return updates, shares


def _mean(
    world: World, server: Server, own: Sequence[tuple[Update[Weights], float]]
) -> Process[tuple[Update[Weights], float]]:
    """What a server makes of its users' work, as the aggregator receives it: as if it were one user's."""
    updates, weights = zip(*own, strict=True)
    models = [update.model for update in updates]
    mean = yield from server.do(averaged, models, weights, kind="aggregation")
    mean = yield from server.forward(world.server, mean, "model", [update.user for update in updates])
    return updates[0]._replace(model=mean), sum(weights)
