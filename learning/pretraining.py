"""Training before time zero, so that what a scheme does is fine-tuning: real, recorded, and outside simulated time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge

from learning import steps
from learning.data import Batches, Dataset, DatasetLoader
from learning.evaluation import Evaluator
from learning.executor import Executor
from learning.models import Segment
from learning.optimisers import Adam, Optimiser
from learning.ports import Journal, Streams

TOGETHER = 5
"""Steps in one operation."""


@dataclass(frozen=True)
class Pretraining:
    """Training of the whole model on other data before the run begins; it takes no simulated time, bits or joules."""

    data: DatasetLoader
    """What it is trained on: samples of the same shape, such as other classes of the same data set."""
    steps: Annotated[int, Ge(1)] = 500
    """Mini-batches."""
    batch_size: Annotated[int, Ge(1)] = 64
    """Samples in a mini-batch; where they are no part of all samples, it runs on into the next epoch."""
    optimiser: Optimiser = field(default_factory=Adam)
    """What steps are taken along the gradients."""
    head: Literal["fresh", "kept"] = "fresh"
    """Whether the model's last block begins anew, or is kept, for which both data need the same classes."""
    seed: Annotated[int, Ge(0)] = 0
    """Of initial weights and mini-batches; the scenario's seed has no influence, so that all seeds share a backbone."""


@dataclass(frozen=True, eq=False)
class Pretrainer:
    """A pretraining with its data loaded, for a downstream model.

    Raises ValueError if the two models differ in more than what is to begin anew.
    """

    described: Pretraining
    dataset: Dataset
    whole: Segment
    streams: Streams
    downstream: Segment

    def __post_init__(self) -> None:
        wanted, given = self.downstream.parameters(), self.whole.parameters()
        wrong = [name for name in self.names if name not in given or given[name].shape != wanted[name].shape]
        if wrong:
            raise ValueError(
                f"what is learnt from {self.dataset.name} does not fit: {wrong[0]} has another shape there"
            )

    @property
    def names(self) -> list[str]:
        """The parameters that are taken over."""
        fresh = self.described.head == "fresh"
        return [n for n in self.downstream.parameters() if not (fresh and n.startswith(f"{self.downstream.last}."))]

    def trained(self, executor: Executor, precision: torch.dtype) -> dict[str, torch.Tensor]:
        """The whole pretrainer model after training, which is done now unless the store has it."""
        weights: dict[str, torch.Tensor] = executor.value(self.deferred(executor, precision))
        return weights

    def evaluate(self, executor: Executor, journal: Journal, trained: dict[str, torch.Tensor]) -> None:
        """Write down how well the model does pretrainer, as an evaluation before round 0."""
        Evaluator(executor, journal, self.dataset, self.whole, "pretraining")((trained,), round=-1, time_s=0.0)

    def deferred(self, executor: Executor, precision: torch.dtype) -> steps.Weights:
        """The whole model after pretraining: a chain of deferred operations."""
        described = self.described
        rows = np.arange(len(self.dataset.train.y))
        batches = Batches(self.dataset, rows, "pretraining", self.streams, described.batch_size, "wrap")
        parameters: steps.Weights
        parameters = self.whole.initial(self.streams, precision)
        state: steps.State
        state = described.optimiser.init(parameters)
        for start in range(0, described.steps, TOGETHER):
            data = batches.stack(range(start, min(start + TOGETHER, described.steps)))
            parameters, state, _ = executor.submit(
                steps.train, self.whole, described.optimiser, parameters, state, *data
            )
        return parameters
