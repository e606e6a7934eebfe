"""A hand-written loop: what a user of torch would write. `python -m benchmarks.peers.loop MODEL ROUNDS`."""

import copy
import sys

import torch

from benchmarks.peers.task import COHORT, USERS, Rounds, network, samples, train


def main(name: str, count: int) -> None:
    torch.set_num_threads(1)
    (images, labels), model, rounds = samples(), network(name), Rounds()
    for _ in range(count):
        total: dict[str, torch.Tensor] = {}
        for user in torch.randperm(USERS)[:COHORT].tolist():
            own = copy.deepcopy(model)
            train(own, images[user], labels[user])
            total = {key: total.get(key, 0) + value for key, value in own.state_dict().items()}
        model.load_state_dict({key: value / COHORT for key, value in total.items()})
        rounds.ended()
    rounds.report()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
