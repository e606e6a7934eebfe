"""Federated averaging with a proximal term. [Li et al., MLSys 2020, algorithm 2]

Messages as in FedAvg; mu (w - w_t) is added to a local gradient, where w_t is the model as downloaded. The term is
charged two FLOPs for each weight and step.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from learning import steps
from learning.data import Inputs, Rows
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.federated import Trained, federated
from learning.protocols.model_codecs import ModelCodecs
from learning.scheme import Scheme
from learning.steps import State, Weights
from learning.world import World


@dataclass(frozen=True)
class FedProx(LocalTraining, Scheme):
    """Federated averaging with a proximal term in the local objective (Li et al., 2020)."""

    mu: Annotated[float, Ge(0)] = 0.01
    """Strength of the proximal term; 0 is FedAvg."""
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
        def train(user: User, model: Weights, state: State, x: list[Inputs], y: list[Rows]) -> Trained:
            work = (steps.train_proximal, world.whole, world.optimiser, self.mu, model, state, x, y)
            model, state, _ = yield from user.do(*work, kind="client_training")
            return model, state

        return federated(world, self, self.weighting, train, self.models)
