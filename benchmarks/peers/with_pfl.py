"""pfl, `SimulatedBackend` in one process. `python -m benchmarks.peers.with_pfl MODEL ROUNDS`."""

import sys
from typing import Any

import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from torch import nn

from benchmarks.peers.task import BATCH, COHORT, LEARNING_RATE, USERS, Rounds, network, samples


class Ends(TrainingProcessCallback):
    """Notes the end of each round."""

    def __init__(self) -> None:
        self.rounds = Rounds()

    def after_central_iteration(self, aggregate_metrics: Any, model: Any, *, central_iteration: int) -> Any:
        self.rounds.ended()
        return False, Metrics()


class Trained(nn.Module):
    """The model with the methods that pfl asks for."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.network = network(name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)

    def loss(self, x: torch.Tensor, y: torch.Tensor, eval: bool = False) -> torch.Tensor:
        return nn.functional.cross_entropy(self(x), y)

    def metrics(self, x: torch.Tensor, y: torch.Tensor, eval: bool = False) -> dict[str, Any]:
        return {}


def main(name: str, count: int) -> None:
    torch.set_num_threads(1)
    images, labels = samples()
    numbers = range(USERS)

    def of_user(user: int) -> Dataset:
        order = torch.randperm(len(images[user]))
        return Dataset((images[user][order], labels[user][order]), user_id=str(user))

    data = FederatedDataset(of_user, get_user_sampler("random", list(numbers)))
    model, ends = Trained(name), Ends()
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=count,
            evaluation_frequency=10 * count,
            train_cohort_size=COHORT,
            val_cohort_size=None,
        ),
        SimulatedBackend(data, None),
        PyTorchModel(model, torch.optim.SGD, torch.optim.SGD(model.parameters(), lr=1.0)),
        NNTrainHyperParams(local_num_epochs=1, local_learning_rate=LEARNING_RATE, local_batch_size=BATCH),
        NNEvalHyperParams(local_batch_size=None),
        [ends],
    )
    ends.rounds.report()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
