"""Who works on the server's next update: all together in rounds, or each by itself, as the policy has it.

A scheme says what one user does with one model, and goes from update to update:

    cohort = assemble(world, work)
    for number in world.rounds():
        updates = yield from cohort.updates(number, model)
        model = yield from merge(world, model, updates, "by_samples")
        world.models(model)
"""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol

from learning.ports import Process
from learning.protocols.asynchronous import AsynchronousCohort
from learning.protocols.edge import Copies
from learning.protocols.rounds import gather
from learning.protocols.updates import M, Update, Work
from learning.world import World


class Cohort(Protocol[M]):
    """Users at work."""

    def updates(self, number: int, model: M) -> Process[list[Update[M]]]:
        """Offer the server's model after `number` updates; return what the next update is made of, ordered by user."""
        ...


def assemble(world: World, work: Work[M]) -> Cohort[M]:
    """The users of a world, at work as its policy has it."""
    return AsynchronousCohort(world, work) if world.policy.asynchronous else SynchronousCohort(world, work)


class SynchronousCohort(NamedTuple, Generic[M]):
    """Every round, the users selected begin with the same model."""

    world: World
    work: Work[M]

    def updates(self, number: int, model: M) -> Process[list[Update[M]]]:
        """Those of the users that are not dropped."""
        users = self.world.selected(number)
        copies = Copies(self.world, users, model)
        done = yield from gather(
            self.world, {user: copies.before(user, self.work(user, number, model)) for user in users}
        )
        copies.cancel()
        return [Update(user, number, result, model, 0) for user, result in done.items()]
