"""What users hand in, and what the server makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from learning.executor.deferred import specification
from learning.parties import Promise, User
from learning.world import World

Work = Callable[[User, int, Any], Promise]
"""What a user does in its turn of a number with a model: download, work, upload. Returns what the server receives."""


class Update(NamedTuple):
    """What one user made of one model."""

    user: User
    turn: int
    model: Any
    """What the server received: a tree of weights, or a tuple of parts of a model."""
    base: Any
    """The server's model from which it was made, likewise."""
    staleness: int
    """How often the server has changed its model between this download and now."""

    def part(self, number: int) -> Update:
        """The same of one part of the model."""
        return self._replace(model=self.model[number], base=self.base[number])


def merge(world: World, model: Any, updates: Sequence[Update], rule: str) -> Promise:
    """The server's next model, as the policy makes it; without updates, or where nothing of it trains, the same again.

    Charged as two FLOPs for each scalar of each tree: those received, and the server's own where it enters.
    """
    if not updates or not specification(model).leaves:
        return model
    weights = world.weights([update.user for update in updates], rule)
    users, _, arrived, bases, staleness = zip(*updates, strict=True)
    work = world.policy.merging(model, arrived, bases, weights, staleness)
    flops = 2 * (len(users) + world.policy.asynchronous) * world.executor.charged(model).numel
    return (yield from world.server.do(*work, kind="aggregation", flops=flops))
