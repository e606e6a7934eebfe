"""Federated fine-tuning of low-rank adapters on a frozen transformer, beside a loop over the users."""

from __future__ import annotations

import torch

from benchmarks.training import Prototypes, Yardstick, compare, mean, trained
from learning.adapters import Lora
from learning.description import LearningDescription
from learning.models import Vit, whole
from learning.optimisers import Sgd
from learning.schemes import FedAvg
from learning.stop import Stop
from netsim.streams import Streams

USERS, STEPS = 10, 5


def main() -> None:
    print(
        f"lora: {USERS} users, {STEPS} steps a round, width 64, 4 layers, rank 4 on qkv, proj; time per step of a user"
    )
    for batch in (2, 10):
        learning = LearningDescription(
            scheme=FedAvg(local_steps=STEPS),
            stop=Stop(rounds=1),
            data=Prototypes(USERS * 50),
            model=Vit(patch=7),
            adapter=Lora(rank=4, targets=("qkv", "proj")),
            batch_size=batch,
            optimiser=Sgd(0.05),
        )
        compare(f"batch {batch}", Yardstick(learning, users=USERS, rounds=20, steps=USERS * STEPS), loop)


def loop(task: Yardstick, rounds: int) -> None:
    """Each user trains its adapters and head on the common backbone; then the mean."""
    users, adapter = task.batches(), task.learning.adapter
    assert adapter is not None
    model = whole(task.learning.model, users[0].dataset)
    adapted, weights = adapter.on(model), model.initial(Streams(0))
    frozen, head = adapted.split(weights)
    segment, start = adapted.bind(frozen), adapted.adapters(Streams(0)) | head
    for number in range(rounds):
        positions = range(number * STEPS, (number + 1) * STEPS)
        start = mean([trained(segment, start, user, positions, sgd) for user in users])


def sgd(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05)  # type: ignore[arg-type]
