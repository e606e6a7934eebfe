"""This simulator, in one process, with its default network. `python -m benchmarks.peers.simulator MODEL ROUNDS`."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.fl import Cnn
from benchmarks.peers.task import BATCH, COHORT, LEARNING_RATE, USERS, Rounds
from benchmarks.training import Prototypes
from learning.description import LearningDescription
from learning.models import Mlp
from learning.optimisers import Sgd
from learning.participation import RandomParticipation
from learning.schemes import FedAvg
from learning.stop import Stop
from learning.trained import TrainedModel
from netsim.description import NetworkDescription, UsersDescription
from scenarios import Observer, simulate
from scenarios.schema import Scenario


class Ends(Observer):
    """Notes the end of each round, when its model is computed: values are deferred until somebody reads them."""

    def began(self, models: Callable[[], Sequence[TrainedModel]]) -> None:
        self.models, self.rounds = models, Rounds()

    def round_ended(self, row: Mapping[str, Any]) -> None:
        self.models()
        self.rounds.ended()


def main(name: str, count: int) -> None:
    learning = LearningDescription(
        scheme=FedAvg(),
        stop=Stop(rounds=count),
        evaluate_every=count,
        data=Prototypes(),
        model=Mlp((100,)) if name == "mlp" else Cnn(),
        batch_size=BATCH,
        optimiser=Sgd(LEARNING_RATE),
        participants=RandomParticipation(COHORT),
    )
    ends = Ends()
    network = NetworkDescription(users=UsersDescription(count=USERS))
    simulate(Scenario(network=network, learning=learning), observer=ends)
    ends.rounds.report()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
