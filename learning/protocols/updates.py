"""What users upload, and the next model that servers make of it."""

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
"""What users upload: weights, or a tuple of those of the parts of a model."""

Work = Callable[[User, int, M], Process[M]]
"""A local round, (user, its number, the server's model): download, training, upload. It returns what arrives."""


class Update(NamedTuple, Generic[M]):
    """What one user made of one model of the server's."""

    user: User
    local_round: int
    """Number of the user's local round in which it was made, from 0."""
    model: M
    """What the server received: weights, or a tuple of those of the parts of a model."""
    base: M
    """The server's model that the user had downloaded, likewise."""
    staleness: int
    """Updates of the server's model since that download."""


def of_part(updates: Sequence[Update[tuple[Weights, Weights]]], number: int) -> list[Update[Weights]]:
    """The updates of one part of a model, by its number: of two parts, the device's (0) or the server's (1)."""
    return [
        Update(each.user, each.local_round, each.model[number], each.base[number], each.staleness) for each in updates
    ]


def merge(
    world: World,
    model: Weights,
    updates: Sequence[Update[Weights]],
    rule: str | tuple[float, ...],
    by_product: Adapted | None = None,
) -> Process[Weights]:
    """Make the aggregator's next model of updates, as the policy says; returns it.

    Edge servers average what their users uploaded, side by side, and forward the mean to the aggregator.

    Args:
        world: the world, with the policy.
        model: the aggregator's present model. It is returned as it is if there are no updates, or nothing of it trains.
        updates: what users uploaded.
        rule: weighting of the users, `by_samples` or `uniform`, or a non-negative weight for each update, up to a
            factor.
        by_product: the adapted part that the weights belong to, if the products of its adapters' factors are to be
            averaged rather than the factors (default: every tensor is averaged by itself).
    """
    if not updates or not specification(model).leaves:
        return model
    users = [update.user for update in updates]
    weights = world.weights(users, rule) if isinstance(rule, str) else tuple(weight / sum(rule) for weight in rule)
    updates, weights = yield from _collected(world, updates, weights)
    _, _, arrived, bases, staleness = zip(*updates, strict=True)
    if by_product is not None:
        return (yield from world.server.do(mean_by_product, by_product, list(arrived), weights, kind="aggregation"))
    work = world.policy.merging(model, arrived, bases, weights, staleness)
    return (yield from world.server.do(*work, kind="aggregation"))


def _collected(
    world: World, updates: Sequence[Update[Weights]], weights: Sequence[float]
) -> Process[tuple[Sequence[Update[Weights]], tuple[float, ...]]]:
    """Updates and weights that reach the aggregator: those of its own users, then one mean from each edge server."""
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
    """The mean of an edge server's users as the aggregator receives it, as if it were one user's, and its weight."""
    updates, weights = zip(*own, strict=True)
    models = [update.model for update in updates]
    mean = yield from server.do(averaged, models, weights, kind="aggregation")
    mean = yield from server.forward(world.server, mean, "model", [update.user for update in updates])
    return updates[0]._replace(model=mean), sum(weights)
