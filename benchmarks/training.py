"""Training in the simulator beside the same training in a hand-written torch loop, in time per step of a user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.timing import best_s
from learning.data import Batches, Dataset
from learning.description import LearningDescription
from learning.stop import Stop
from netsim.description import NetworkDescription, UsersDescription
from netsim.streams import Streams
from scenarios import simulate
from scenarios.run import one_thread
from scenarios.schema import Scenario

Parameters = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Prototypes:
    """Ten classes of images 1 x 28 x 28, each a random prototype and noise: learnable, and nothing to download."""

    samples: int = 5000

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        drawn = np.random.default_rng(0)
        prototypes = drawn.standard_normal((10, 1, 28, 28))

        def made(count: int) -> tuple[Any, Any]:
            labels = drawn.integers(0, 10, count)
            images = 0.5 * prototypes[labels] + drawn.standard_normal((count, 1, 28, 28))
            return torch.from_numpy(images).to(dtype), labels

        return Dataset.from_arrays("prototypes", made(self.samples), made(100), 10)


@dataclass(frozen=True)
class Yardstick:
    """A federated task: all its users, or a random cohort of them, take part in each round."""

    learning: LearningDescription
    users: int
    rounds: int
    """Rounds that are measured; those before, in which operations are profiled and captured, are left out."""
    steps: int
    """Steps of all users in one round."""

    def simulated(self, rounds: int, executor: Any) -> None:
        """Run the first rounds in the simulator."""
        stop = Stop(rounds=rounds)
        learning = replace(self.learning, stop=stop, executor=executor, evaluate_every=rounds)
        simulate(Scenario(network=NetworkDescription(users=UsersDescription(count=self.users)), learning=learning))

    def batches(self) -> list[Batches]:
        """The users' mini-batches, for a loop that does the same."""
        data, streams = self.learning.data.load(None, torch.float32), Streams(0)
        size = self.learning.batch_size
        assert isinstance(size, int)
        shares = torch.arange(len(data.train.y)).reshape(self.users, -1).numpy()
        return [Batches(data, rows, number, streams, size) for number, rows in enumerate(shares)]


WARM = 6
"""Rounds after which all operations have been captured."""


def compare(name: str, task: Yardstick, loop: Callable[[Yardstick, int], None]) -> None:
    """Print what `loop` and the executors take for a step of a user, beyond the first rounds, and their ratio."""
    with one_thread():
        both = {"loop": loop} | {
            each: lambda task, rounds, each=each: task.simulated(rounds, each) for each in ("batched", "dry")
        }
        times = best_s(
            {
                (each, rounds): lambda run=run, rounds=rounds: run(task, rounds)
                for each, run in both.items()
                for rounds in (WARM, WARM + task.rounds)
            }
        )
    step_us = {
        each: (times[each, WARM + task.rounds] - times[each, WARM]) / (task.rounds * task.steps) * 1e6 for each in both
    }
    print(
        f"  {name:12s} loop {step_us['loop']:6.0f} us; batched {step_us['batched']:6.0f} us, "
        f"{step_us['loop'] / step_us['batched']:.2f} times as fast; the network alone {step_us['dry']:.0f} us"
    )


def trained(segment: Any, start: Parameters, batches: Batches, positions: range, optimiser: Any) -> Parameters:
    """The parameters after plain local steps, by autograd and torch.optim."""
    model = {name: value.clone().requires_grad_() for name, value in start.items()}
    steps = optimiser(model.values())
    for position in positions:
        x, y = batches.at(position)
        steps.zero_grad()
        F.cross_entropy(segment(model, x.tensor()), y.tensor()).backward()
        steps.step()
    return {name: value.detach() for name, value in model.items()}


def mean(models: list[Parameters]) -> Parameters:
    """The mean of models."""
    return {name: torch.stack([model[name] for model in models]).mean(0) for name in models[0]}
