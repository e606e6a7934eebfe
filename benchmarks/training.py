"""Training in the simulator beside the same training in a hand-written torch loop, in time per step of a user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.timing import REPEATS, Stopwatch, best_s
from learning.data import Batches, Dataset
from learning.description import LearningDescription
from learning.executor.kernels import Captured
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

        return Dataset.from_splits("prototypes", made(self.samples), made(100), 10)


@dataclass(frozen=True)
class Yardstick:
    """A federated task: all its users, or a random cohort of them, take part in each round."""

    learning: LearningDescription
    users: int
    rounds: int
    """Rounds that are measured; those before, in which operations are profiled and captured, are left out."""
    steps: int
    """Steps of all users in one round."""

    def simulated(self, rounds: int, executor: Any, workers: int = 1) -> None:
        """Run the first rounds in the simulator."""
        changes = {"stop": Stop(rounds=rounds), "executor": executor, "workers": workers, "evaluate_every": rounds}
        learning = replace(self.learning, **changes)  # type: ignore[arg-type]
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
    """Print what a step of a user takes in `loop`, beyond the first rounds, and how much faster the simulator is.

    And how much faster a simulator would be of which nothing but torch's kernels, in one process, took time.
    """
    runs: dict[str, Callable[[int], None]] = {
        "loop": lambda rounds: loop(task, rounds),
        "one": lambda rounds: task.simulated(rounds, "batched"),
        "two": lambda rounds: task.simulated(rounds, "batched", workers=2),
        "network": lambda rounds: task.simulated(rounds, "dry"),
    }
    lengths = WARM, WARM + task.rounds
    with one_thread():
        times = best_s({f"{name} {n}": partial(run, n) for name, run in runs.items() for n in lengths})
        times |= {f"kernels {n}": _in_kernels_s(partial(runs["one"], n)) for n in lengths}
    short, long = ({each: times[f"{each} {n}"] for each in (*runs, "kernels")} for n in lengths)
    us = {each: (long[each] - short[each]) / (task.rounds * task.steps) * 1e6 for each in short}
    ratios = {each: f"{us['loop'] / us[each]:.2f}" for each in us}
    print(
        f"  {name:12s} loop {us['loop']:.0f} us; times as fast: one process {ratios['one']}, two {ratios['two']}, "
        f"kernels alone {ratios['kernels']}; network {us['network']:.0f} us"
    )


def _in_kernels_s(run: Callable[[], None]) -> float:
    """Minimum wall time in captured operations' kernels of some runs."""
    spent = []
    for _ in range(REPEATS):
        watch = Stopwatch()
        with watch.on(Captured, ("__call__",)):
            run()
        spent.append(watch.spent_s)
    return min(spent)


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
