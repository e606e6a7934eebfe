"""Pretraining: the whole model is trained before simulated time begins, so that a scheme fine-tunes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge

from learning import steps
from learning.data import Batches, Dataset, DatasetLoader
from learning.evaluation import Evaluator
from learning.executor import Executor
from learning.journal import Journal
from learning.models import Architecture, Multimodal, Segment, TokenEncoder, WordTable
from learning.models.towers import FUSION
from learning.optimisers import Adam, Optimiser
from learning.ports import Streams

STEPS_TOGETHER = 5
"""Training steps that are submitted as one operation."""


@dataclass(frozen=True)
class Pretraining:
    """Training of the whole model on other data before the run begins; it takes no simulated time, bits or joules."""

    data: DatasetLoader
    """Training data: samples of the same shape, such as other classes of the same data set."""
    steps: Annotated[int, Ge(1)] = 500
    """Number of training steps, each on one mini-batch."""
    batch_size: Annotated[int, Ge(1)] = 64
    """Samples in a mini-batch; one that an epoch does not fill is completed from the next epoch."""
    optimiser: Optimiser = field(default_factory=Adam)
    """Optimiser of the pretraining."""
    head: Literal["fresh", "kept"] = "fresh"
    """Whether the model's last block is initialised again for the scenario's training (`fresh`), or taken over from
    pretraining (`kept`), for which both data sets need the same number of classes."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of initial weights and mini-batches. The scenario's seed has no influence, so that runs with different seeds
    share a backbone."""


@dataclass(frozen=True, eq=False)
class Pretrainer:
    """A pretraining with its data loaded, for a downstream model.

    Raises ValueError where a parameter that is to be taken over has another shape in the downstream model.
    """

    described: Pretraining
    """The pretraining as the scenario describes it."""
    dataset: Dataset
    """Its data."""
    whole: Segment
    """The whole model that is pretrained."""
    streams: Streams
    """Random streams of the pretraining's own seed."""
    downstream: Segment | Multimodal
    """The whole model that takes over the parameters."""
    part: str = ""
    """The part of the downstream model that is pretrained: a tower, or `fusion`; empty is all of it."""

    def __post_init__(self) -> None:
        wanted, given = self.downstream.parameters(), self.whole.parameters()
        taken = self.taken.items()
        wrong = [name for new, name in taken if name not in given or given[name].shape != wanted[new].shape]
        if wrong:
            raise ValueError(
                f"a model pretrained on {self.dataset.name} does not fit: its {wrong[0]} has another shape"
            )

    @property
    def names(self) -> list[str]:
        """Names of the parameters that the downstream model takes over."""
        return list(self.taken)

    @cached_property
    def taken(self) -> dict[str, str]:
        """Name of each parameter that the downstream model takes over -> its name in the pretrained model."""
        fresh = f"{self.whole.last}." if self.described.head == "fresh" else None
        if isinstance(self.downstream, Multimodal):
            return {
                new: old for new, old in taken_by_part(self.downstream, self.part).items() if not begins(old, fresh)
            }
        return {name: name for name in self.downstream.parameters() if not begins(name, fresh)}

    def taken_over(self, trained: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Those parameters of the pretrained model that are taken over, by their names in the downstream model."""
        return {new: trained[old] for new, old in self.taken.items()}

    def trained(self, executor: Executor, precision: torch.dtype) -> dict[str, torch.Tensor]:
        """Parameters of the whole model after pretraining, by name; computed now unless the result cache has them.

        `precision` is the dtype of the parameters.
        """
        weights: dict[str, torch.Tensor] = executor.value(self.deferred(executor, precision))
        return weights

    def evaluate(self, executor: Executor, journal: Journal, trained: dict[str, torch.Tensor]) -> None:
        """Record the loss and accuracy of the pretrained model on its own test data, as an evaluation of round -1."""
        split = f"pretraining_{self.part}" if self.part else "pretraining"
        Evaluator(executor, journal, self.dataset, self.whole, split)((trained,), round=-1, time_s=0.0)

    def deferred(self, executor: Executor, precision: torch.dtype) -> steps.Weights:
        """Parameters of the whole model after pretraining, as the result of a chain of deferred operations."""
        described = self.described
        rows = np.arange(len(self.dataset.train.y))
        batches = Batches(self.dataset, rows, "pretraining", self.streams, described.batch_size, "wrap")
        parameters: steps.Weights
        parameters = self.whole.initial(self.streams, precision)
        state: steps.State
        state = described.optimiser.init(parameters)
        for start in range(0, described.steps, STEPS_TOGETHER):
            data = batches.stack(range(start, min(start + STEPS_TOGETHER, described.steps)))
            parameters, state, _ = executor.submit(
                steps.train, self.whole, described.optimiser, parameters, state, *data
            )
        return parameters


def begins(name: str, beginning: str | None) -> bool:
    """Whether a name begins so; no name does with None."""
    return beginning is not None and name.startswith(beginning)


def alone(architecture: Architecture) -> Architecture:
    """The architecture of a part as it is pretrained by itself: an encoder of tokens has a classifier at its end."""
    return architecture.alone() if isinstance(architecture, TokenEncoder) else architecture


def taken_by_part(model: Multimodal, part: str) -> dict[str, str]:
    """Name of each parameter that a part takes over -> its name in the model that was pretrained by itself.

    A tower takes over all blocks but the last, which maps to its features. The fusion network takes over all but the
    first, which receives the features of towers; towers that are tables of words take over that first block.
    """
    tower = next(each for each in model.parts if each.name == part)
    if part != FUSION:
        names = {name: name.removeprefix(f"{part}.") for name in tower.parameters()}
        return {new: old for new, old in names.items() if tower.block(new) < tower.last}
    taken = {name: name.removeprefix(f"{FUSION}.") for name in tower.parameters() if tower.block(name)}
    tables = [each for each in model.towers.towers if isinstance(each.architecture, WordTable)]
    return taken | {name: name.removeprefix(f"{table.name}.") for table in tables for name in table.parameters()}
