"""Updates of the server's model from users that train in rounds, or asynchronously, as the policy says.

A scheme says what a local round of one user is, and iterates over updates:

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
from learning.protocols.edge import EdgeDownloads
from learning.protocols.rounds import gather
from learning.protocols.updates import M, Update, Work
from learning.world import World


class Cohort(Protocol[M]):
    """Users that train models of the server's."""

    def updates(self, number: int, model: M) -> Process[list[Update[M]]]:
        """Let users download a model and return what the next update of it is made of, ordered by user.

        Args:
            number: updates made so far, which is the number of the round.
            model: the server's model after these: weights, or a tuple of those of its parts.
        """
        ...


def assemble(world: World, work: Work[M]) -> Cohort[M]:
    """The users of a world, in rounds or asynchronous as its policy is; `work` is one local round of a user."""
    return AsynchronousCohort(world, work) if world.policy.asynchronous else SynchronousCohort(world, work)


class SynchronousCohort(NamedTuple, Generic[M]):
    """Users in rounds: those selected for a round all begin with the same model."""

    world: World
    work: Work[M]

    def updates(self, number: int, model: M) -> Process[list[Update[M]]]:
        """As in `Cohort`; what users return that are not dropped from the round."""
        users = self.world.selected(number)
        downloads = EdgeDownloads(self.world, users, model)
        done = yield from gather(
            self.world, {user: downloads.then(user, self.work(user, number, model)) for user in users}
        )
        downloads.cancel()
        return [Update(user, number, result, model, 0) for user, result in done.items()]
