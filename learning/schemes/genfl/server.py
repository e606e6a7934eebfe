"""The server's part of GenFL: it generates samples, and trains a model on them, while users train theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from learning.control.generation.amount import ServerWork
from learning.control.generation.labels import SharedLabels
from learning.control.generation.plans import Plan, labels_of, planned
from learning.control.prediction import flops
from learning.data import Inputs
from learning.executor.deferred import Value
from learning.generation import Sampler
from learning.parties import User
from learning.ports import Process
from learning.schemes.genfl.operators import train_on_union
from learning.steps import Parameters, State, Weights
from learning.world import World

Training: TypeAlias = tuple[Callable[..., tuple[Parameters, Any, Tensor]], *tuple[Any, ...]]
"""An operation of training, and its arguments; it returns parameters, the state of the optimiser, and the loss."""


class Labelled(NamedTuple):
    """Generated samples and their labels."""

    images: Value[Tensor] | Inputs
    """Samples, (n, ...)."""
    labels: Tensor
    """Their classes, (n,)."""


@dataclass(frozen=True)
class Augmentation:
    """What the server generates and trains on in each round."""

    amount: Literal["shadow"] | Annotated[int, Ge(0)] = "shadow"
    """Samples that are generated in a round: a number, or as many as the server can generate and train on before the
    stragglers are done (`shadow`), as predicted at nominal speeds."""
    max_amount: Annotated[int, Ge(0)] = 200
    """Limit on the samples that are generated in a round in the shadow of stragglers."""
    pool_max: Annotated[int, Ge(0)] = 2000
    """Generated samples that the server keeps; when it has as many, it generates none."""
    plan: Plan = "deficit"
    """Classes of the samples."""
    epochs: Annotated[int, Ge(1)] = 1
    """Passes of the server over its samples in a round."""

    def number(self, work: ServerWork, available_s: float, pool: int) -> int:
        """Samples to generate in a round with `available_s` seconds, beside those that are in the pool."""
        room = self.pool_max - pool
        if self.amount == "shadow":
            return work.hidden_amount(available_s, pool, min(self.max_amount, room))
        return min(self.amount, room)


@dataclass
class AugmentingServer:
    """The server: its trained generator, what users have told it, and what it has generated so far."""

    world: World
    described: Augmentation
    sampler: Sampler
    state: State
    """State of the server's optimiser before the first step."""
    labels: SharedLabels
    """Histograms that have arrived."""
    pool: list[Labelled] = field(default_factory=list)
    """What it has generated and trains on, round by round."""
    shipped: dict[User, Labelled] = field(default_factory=dict)
    """What it has generated for users that have received it."""

    @property
    def samples(self) -> int:
        """Samples in the pool."""
        return sum(len(each.labels) for each in self.pool)

    def generate(self, counts: NDArray[np.int64], *entity: int | str, user: User | None = None) -> Process[Labelled]:
        """Generate so many samples of each class, (classes,); `entity` names their draws."""
        labels = labels_of(counts)
        work = self.sampler.sampling(labels, self.world.streams, *entity)
        images = yield from self.world.server.do(*work, kind="generation", user=user)
        return Labelled(images, torch.from_numpy(labels))

    def augmented(self, number: int, model: Weights, amount: int) -> Process[Weights | None]:
        """Generate samples and train the global model on all in the pool; returns it, or None if there are none.

        Args:
            number: number of the round.
            model: the global model.
            amount: samples to generate.
        """
        if amount:
            counts = planned(self.described.plan, self.labels.total, amount)
            self.pool.append((yield from self.generate(counts, "pool", number)))
        if not self.pool:
            return None
        passes = [self.world.streams.generator("augmentation", number, each) for each in range(self.described.epochs)]
        order = [mini_batches(each.permutation(self.samples), self.batch_size) for each in passes]
        work = self._training(model, self.pool, [stack for each in order for stack in each])
        trained, _, _ = yield from self.world.server.do(*work, kind="augmented_training")
        return trained

    @property
    def batch_size(self) -> int:
        """Samples in a mini-batch of the server: as many as in the largest of a user."""
        return max(user.batches.largest for user in self.world.users)

    def work(self, model: Weights) -> ServerWork:
        """Cost of the server's part, by the operations that it consists of."""
        one = self.sampler.sampling(np.zeros(1, dtype=np.int64), self.world.streams, "cost")
        x, _ = self.world.users[0].batches.run(range(1))
        alone = Labelled(x, torch.zeros(1, dtype=torch.int64))
        training = self._training(model, [alone], [torch.zeros((1, 1), dtype=torch.int64)])
        speed = self.world.server.node.flops_per_s
        return ServerWork(flops(self.world, *one), self.described.epochs * flops(self.world, *training), speed)

    def _training(self, model: Weights, samples: list[Labelled], order: list[Tensor]) -> Training:
        """Training of the model on generated samples, from the optimiser's first state on."""
        given = self.world.whole, self.world.server_optimiser, model, self.state
        generated = [each.images for each in samples], [each.labels for each in samples]
        return (train_on_union, *given, [], [], *generated, order)


def mini_batches(places: NDArray[np.int64], size: int) -> list[Tensor]:
    """Stacks of mini-batches of `size` places each, (count, size), and the last one if it is smaller, (1, rest)."""
    whole = len(places) // size * size
    stacks = [places[:whole].reshape(-1, size), places[None, whole:]]
    return [torch.from_numpy(np.ascontiguousarray(stack)) for stack in stacks if stack.size]
