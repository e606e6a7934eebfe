"""Overhead of the simulation: SFL-V1 in the simulator, compared with the same training steps in a plain torch loop.

Prints wall time relative to the plain loop: 1 is no overhead, and less than 1 means that the batched executor saves
more than the simulation costs. The dry executor gives the time of the network simulation alone.
"""

from typing import Any

import torch
from torch import nn

from benchmarks.timing import best_s
from learning.data import Batches, Digits
from learning.description import LearningDescription
from learning.models import Architecture, Mlp, Vit, whole
from learning.optimisers import Sgd
from learning.schemes import SFLV1
from learning.stop import Stop
from netsim.description import NetworkDescription, UsersDescription
from netsim.streams import Streams
from scenarios import simulate
from scenarios.run import one_thread
from scenarios.schema import Scenario

USERS, STEPS, ROUNDS, BATCH = 12, 5, 20, 16
"""Sizes for a duration of minutes in which set-up is negligible."""


def main() -> None:
    print(f"coupling: {USERS} users, {ROUNDS} rounds of {STEPS} steps, batch {BATCH}; wall time over plain torch")
    for name, model in {"mlp 64-64": Mlp(hidden=(64, 64)), "vit": Vit()}.items():
        times = best_s(
            {"plain": lambda model=model: plain(model)}
            | {each: lambda model=model, each=each: simulated(model, each) for each in ("eager", "batched", "dry")}
        )
        ratios = ", ".join(f"{each} {times[each] / times['plain']:.2f}" for each in ("eager", "batched", "dry"))
        print(f"  {name:10s} plain {times['plain']:.2f} s; {ratios}")


def plain(architecture: Architecture) -> None:
    """Train as SFL-V1 does, without a network: local steps of each user on a copy of the whole model, then the mean."""
    with one_thread():
        data, streams = Digits().load(None, torch.float32), Streams(0)
        segment = whole(architecture, data)
        start = segment.initial(streams)
        share = len(data.train.y) // USERS
        shares = torch.arange(share * USERS).reshape(USERS, share).numpy()
        users = [Batches(data, rows, number, streams, BATCH) for number, rows in enumerate(shares)]
        for round_number in range(ROUNDS):
            models = [train(segment, start, user, round_number) for user in users]
            start = {name: torch.stack([model[name] for model in models]).mean(0) for name in start}


def train(segment: Any, start: dict[str, torch.Tensor], user: Batches, round_number: int) -> dict[str, torch.Tensor]:
    model = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimiser = torch.optim.SGD(model.values(), lr=0.05, momentum=0.9)
    for step in range(STEPS):
        x, y = user.at(round_number * STEPS + step)
        optimiser.zero_grad()
        nn.functional.cross_entropy(segment(model, x.tensor()), y.tensor()).backward()
        optimiser.step()
    return {name: value.detach() for name, value in model.items()}


def simulated(architecture: Architecture, executor: Any) -> None:
    """Train in the simulator as `plain` does, with an executor by name."""
    learning = LearningDescription(
        scheme=SFLV1(local_steps=STEPS),
        stop=Stop(rounds=ROUNDS),
        model=architecture,
        batch_size=BATCH,
        optimiser=Sgd(0.05, 0.9),
        executor=executor,
        evaluate_every=ROUNDS,
    )
    simulate(Scenario(network=NetworkDescription(users=UsersDescription(count=USERS)), learning=learning))
