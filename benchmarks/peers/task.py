"""The task that all of them do, in plain torch: it is imported in each peer's environment, and imports no simulator."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

USERS, SAMPLES, COHORT = 100, 50, 10
"""Number of users, samples of each, and users of a round."""
BATCH, LEARNING_RATE = 10, 0.05
"""Samples of a mini-batch, and learning rate of plain SGD; a user does one epoch in a round."""
STEPS = COHORT * SAMPLES // BATCH
"""Steps of all users in a round."""
MODELS = ("mlp", "cnn")


def samples() -> tuple[Tensor, Tensor]:
    """Images (users, samples, 1, 28, 28) and labels (users, samples); times do not depend on what they show."""
    drawn = torch.Generator().manual_seed(0)
    images = torch.randn((USERS, SAMPLES, 1, 28, 28), generator=drawn)
    return images, torch.randint(10, (USERS, SAMPLES), generator=drawn)


def network(name: str) -> nn.Sequential:
    """The model: `mlp` with 79,510 parameters, or `cnn` with 80,202."""
    torch.manual_seed(0)
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


def train(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """One epoch of a user in shuffled mini-batches, as one would write it."""
    optimiser = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    for chosen in torch.randperm(len(x)).split(BATCH):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimiser.step()


class Rounds:
    """The wall times of rounds. The first ends at the first call of `ended`, and is not counted: it has the start."""

    def __init__(self) -> None:
        self._ends_s: list[float] = []

    def ended(self) -> None:
        """A round has ended."""
        self._ends_s.append(time.perf_counter())

    def report(self) -> None:
        """Print the seconds of each round but the first, as the last line of the output."""
        seconds: Sequence[float] = [end - begin for begin, end in zip(self._ends_s, self._ends_s[1:], strict=False)]
        print(json.dumps(seconds), flush=True)
