"""Local training: every user by itself, nothing is sent. [LocalLoRA, where `learning.adapter` is given]

user   local steps on its own model   per round

Users end with models of their own: accuracy is reported as the plain mean over all users, those included that never
took part, and as the least and largest, on the common test set.
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
    """Training without collaboration: what a user has of its own data alone, the lower bound."""

    def run(self, world: World) -> Process[None]:
        start = world.initial(world.whole)
        own: dict[User, tuple[Weights, State]] = dict.fromkeys(world.users, (start, world.optimiser.init(start)))
        for number in world.rounds():
            users = world.selected(number)
            own |= yield from gather(world, {user: self.user(world, user, number, *own[user]) for user in users})
            world.models(*(model for model, _ in own.values()))

    def user(self, world: World, user: User, number: int, model: Weights, state: State) -> Trained:
        """Returns the user's model and its optimiser's state; a round that it does not finish changes neither."""
        batches = user.batches.stack(self.positions(user, number))
        return (yield from descend(world, world.whole, user, model, state, *batches))
