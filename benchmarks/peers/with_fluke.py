"""fluke, whose clients train one after another in one process. `python -m benchmarks.peers.with_fluke MODEL ROUNDS`."""

import sys

import torch
from fluke import DDict, FlukeENV
from fluke.algorithms.fedavg import FedAVG
from fluke.data import DataSplitter, DummyDataContainer, FastDataLoader
from fluke.utils import FederationObserver

from benchmarks.peers.task import BATCH, COHORT, LEARNING_RATE, USERS, Rounds, network, samples


class Ends(FederationObserver):
    """Notes the end of each round."""

    def __init__(self) -> None:
        self.rounds = Rounds()

    def end_round(self, round: int) -> None:
        self.rounds.ended()


def main(name: str, count: int) -> None:
    torch.set_num_threads(1)
    FlukeENV().set_seed(0)
    FlukeENV().set_eval_cfg(locals=False, server=False, pre_fit=False, post_fit=False)
    images, labels = samples()
    loaders = [FastDataLoader(*own, num_labels=10, batch_size=BATCH) for own in zip(images, labels, strict=True)]
    data = DataSplitter(DummyDataContainer(loaders, [None] * USERS, None, 10))
    parameters = {
        "model": network(name),
        "client": {
            "batch_size": BATCH,
            "local_epochs": 1,
            "loss": "CrossEntropyLoss",
            "optimizer": {"name": "SGD", "lr": LEARNING_RATE},
            "scheduler": {"name": "StepLR", "step_size": 1, "gamma": 1},
        },
        "server": {"weighted": True},
    }
    algorithm, ends = FedAVG(USERS, data, DDict(**parameters)), Ends()
    algorithm.set_callbacks(ends)
    algorithm.run(count, COHORT / USERS)
    ends.rounds.report()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
