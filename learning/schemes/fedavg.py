"""Federated averaging. [McMahan et al., AISTATS 2017, algorithm 1]

server -> user   model                    per round
user             local steps on the whole model
user -> server   model                    per round
server           mean of the models, weighted by samples
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from learning.local_training import LocalTraining
from learning.parties import Promise
from learning.protocols.federated import descend, federated
from learning.world import World


@dataclass(frozen=True)
class FedAvg(LocalTraining):
    """Federated averaging of whole models (McMahan et al., 2017)."""

    weights: Literal["data", "uniform"] = "data"
    """Whether a user counts by its samples, or all users count alike."""

    asynchronous = True
    hierarchical = True

    def run(self, world: World) -> Promise:
        return federated(world, self, self.weights, partial(descend, world, world.whole))
