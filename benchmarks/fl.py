"""Federated averaging beside a hand-written loop: 100 users of 50 samples 28 x 28, cohorts of 10, 5 steps of 10."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.training import Prototypes, Yardstick, compare
from learning.description import LearningDescription
from learning.models import Architecture, Mlp
from learning.optimisers import Sgd
from learning.participation import RandomParticipation
from learning.schemes import FedAvg
from learning.stop import Stop

COHORT = 10


@dataclass(frozen=True)
class Cnn:
    """Two convolutions 5 x 5 with 16 and 32 channels and two linear layers: 80,202 parameters."""

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        return [
            nn.Sequential(nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Sequential(nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Sequential(nn.Flatten(), nn.Linear(512, 128), nn.ReLU()),
            nn.Linear(128, classes),
        ]


def main() -> None:
    print(f"fl: 100 users x 50 samples, {COHORT} a round, 5 steps of 10 samples; time per step of a user")
    models: dict[str, Architecture] = {"mlp 784-100": Mlp((100,)), "cnn": Cnn()}
    for name, model in models.items():
        learning = LearningDescription(
            scheme=FedAvg(),
            stop=Stop(rounds=1),
            data=Prototypes(),
            model=model,
            batch_size=10,
            optimiser=Sgd(0.05),
            participants=RandomParticipation(COHORT),
        )
        compare(name, Yardstick(learning, users=100, rounds=30, steps=COHORT * 5), loop)


def loop(task: Yardstick, rounds: int) -> None:
    """What a user of torch would write: modules, torch.optim, a mean of state dictionaries; no random streams."""
    model = nn.Sequential(*task.learning.model.blocks((1, 28, 28), 10))
    users, drawn = task.batches(), np.random.default_rng(1)
    x, y = users[0].dataset.train.arrays["x"], users[0].dataset.train.y
    for _ in range(rounds):
        total: dict[str, torch.Tensor] = {}
        for number in drawn.choice(len(users), COHORT, replace=False):
            own = copy.deepcopy(model)
            optimiser = torch.optim.SGD(own.parameters(), lr=0.05)
            rows = torch.from_numpy(drawn.permutation(users[number].indices))
            for chosen in rows.split(10):
                optimiser.zero_grad()
                F.cross_entropy(own(x[chosen]), y[chosen]).backward()
                optimiser.step()
            total = {name: total.get(name, 0) + value for name, value in own.state_dict().items()}
        model.load_state_dict({name: value / COHORT for name, value in total.items()})
