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
from learning.ports import Process
from learning.protocols.federated import descend, federated
from learning.protocols.model_codecs import ModelCodecs
from learning.scheme import Scheme
from learning.world import World


@dataclass(frozen=True)
class FedAvg(LocalTraining, Scheme):
    """Federated averaging of whole models (McMahan et al., 2017)."""

    weighting: Literal["by_samples", "uniform"] = "by_samples"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    models: ModelCodecs = ModelCodecs()
    """Codecs of the models that are sent, in numbers of 16 bits for example."""

    asynchronous = True
    hierarchical = True
    lazy_users = True
    whole_model = True
    training_layers = True
    own_norms = True

    def run(self, world: World) -> Process[None]:
        return federated(world, self, self.weighting, partial(descend, world, world.whole), self.models)
