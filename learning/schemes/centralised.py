"""Training on pooled data at the server: the upper bound that distributed schemes are compared with.

server   one step on a mini-batch of all users' samples   per round

The samples of all users are at the server from the start, as one shuffled data set: their upload is not charged, and
neither their partition nor absent users change the training. A round's mini-batch is as large as those of a cohort of
users together, so that equal rounds mean equal samples; with `batch_size: all` it is the whole data set.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from learning.data import Batches
from learning.executor.deferred import Tree
from learning.models import Segment
from learning.optimisers import Optimiser
from learning.ports import Process
from learning.scheme import Scheme
from learning.steps import Batch, Parameters, State, Weights, stack_of_one, train
from learning.training_mode import training_input
from learning.world import World


@dataclass(frozen=True)
class Centralised(Scheme):
    """All data at the server; one step a round on as many pooled samples as the mini-batches of its users have."""

    whole_model = True
    training_layers = True

    def run(self, world: World) -> Process[None]:
        model: Weights
        state: State
        model = world.initial(world.whole)
        state = world.server_optimiser.init(model)
        batches, following = Batches.pooled([user.batches for user in world.users]), 0
        for number in world.rounds():
            users = min(len(world.selected(number)), world.cohort_size)
            size = batches.samples if batches.size is None else users * batches.size
            mini_batch = batches.cut(following, size)
            following = mini_batch.stop
            samples, labels = batches.run(mini_batch)
            x = training_input(world, world.whole, samples, "pooled", mini_batch.start)
            work = (step, world.whole, world.server_optimiser, model, state, x, labels)
            model, state = yield from world.server.do(*work, kind="server_training")
            world.report_participation(users, users)
            world.models(model)


def step(
    segment: Segment, optimiser: Optimiser, parameters: Parameters, state: Tree, x: Batch, y: Tensor
) -> tuple[Parameters, Tree]:
    """One step of `optimiser` on one mini-batch `x`, `y`; returns the new parameters and optimiser state."""
    parameters, state, _ = train(segment, optimiser, parameters, state, [stack_of_one(x)], [y[None]])
    return parameters, state
