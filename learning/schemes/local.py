"""Local training: every user trains independently, nothing is sent. [LocalLoRA, where `learning.adapter` is given]

user   local steps on its own model   per round

Every user has a model of its own: accuracy is reported as the mean over all users, those included that never took part,
and as the minimum and maximum, on the common test set.
"""

from dataclasses import dataclass

from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.federated import Trained, descend
from learning.protocols.rounds import gather
from learning.scheme import Scheme
from learning.steps import State, Weights
from learning.world import World


@dataclass(frozen=True)
class Local(LocalTraining, Scheme):
    """Training without collaboration, each user on its own data alone: a lower bound for collaborative schemes."""

    whole_model = True
    training_layers = True

    def run(self, world: World) -> Process[None]:
        start = world.initial(world.whole)
        own: dict[User, tuple[Weights, State]] = dict.fromkeys(world.users, (start, world.optimiser.init(start)))
        for number in world.rounds():
            users = world.selected(number)
            own |= yield from gather(world, {user: self.user(world, user, number, *own[user]) for user in users})
            world.models(*(model for model, _ in own.values()))

    def user(self, world: World, user: User, number: int, model: Weights, state: State) -> Trained:
        """A local round of a user; returns its model and optimiser state, which an unfinished round does not change."""
        batches = self.stacks(world, user, number)
        return (yield from descend(world, world.whole, user, model, state, *batches))
