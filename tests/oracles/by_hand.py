"""What one would write without a simulator: modules with real weights, autograd, torch.optim, a loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fakes import FakeWorld
from learning.models import Segment
from learning.optimisers import Sgd
from learning.parties import User

Weights = dict[str, Tensor]


class Plain:
    """A module with the initial weights of a segment, and torch's own SGD."""

    def __init__(self, ran: FakeWorld, segment: Segment, sgd: Sgd) -> None:
        blocks = segment.architecture.blocks(segment.input_shape, segment.classes)
        run = OrderedDict((str(i), blocks[i]) for i in range(segment.start, segment.stop))
        self.module = nn.Sequential(run).to(ran.precision)
        self.load(segment.initial(ran.streams, ran.precision))
        self.optimiser = torch.optim.SGD(
            self.module.parameters(), sgd.learning_rate, sgd.momentum, weight_decay=sgd.weight_decay
        )

    def load(self, weights: Weights) -> None:
        self.module.load_state_dict(weights)

    @property
    def weights(self) -> Weights:
        return {name: value.detach().clone() for name, value in self.module.named_parameters()}

    def step(self, x: Tensor, y: Tensor) -> None:
        """One step on the loss of a mini-batch."""
        self.optimiser.zero_grad()
        F.cross_entropy(self.module(x), y).backward()
        self.optimiser.step()


def split_step(front: Plain, back: Plain, x: Tensor, y: Tensor) -> None:
    """One step of both parts, with only smashed data and their gradient between them."""
    front.optimiser.zero_grad()
    z = front.module(x)
    received = z.detach().requires_grad_()
    back.step(received, y)
    z.backward(received.grad)
    front.optimiser.step()


def batch(ran: FakeWorld, user: User, position: int) -> tuple[Tensor, Tensor]:
    """The mini-batch that the user trains on, sample by sample from the data set as a DataLoader would collate it."""
    rows, _ = user.batches.at(position)
    x, y = ran.dataset.train.x, ran.dataset.train.y
    return torch.stack([x[i] for i in rows.indices]), torch.stack([y[i] for i in rows.indices])


def epoch(ran: FakeWorld, whose: int | str, rows: Any, number: int, size: int, drop_last: bool = False) -> DataLoader:
    """A pass over these rows of the data set as torch deals it, shuffled by the draw that is named after its owner."""
    order = np.asarray(rows)[ran.streams.generator("shuffle", whose, number).permutation(len(rows))]
    train = TensorDataset(ran.dataset.train.x, ran.dataset.train.y)
    return DataLoader(train, batch_size=size, sampler=order.tolist(), drop_last=drop_last)


def mean(models: Sequence[Weights], shares: Sequence[float]) -> Weights:
    """sum_k share_k model_k, added up in the order of the users."""
    out = {}
    for name in models[0]:
        total = models[0][name] * shares[0]
        for model, share in zip(models[1:], shares[1:], strict=True):
            total = total + model[name] * share
        out[name] = total
    return out


def by_samples(ran: FakeWorld) -> list[float]:
    total = sum(user.samples for user in ran.users)
    return [user.samples / total for user in ran.users]


def distance(a: Weights, b: Weights) -> float:
    """The largest difference of two weights."""
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def same_bits(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def flat(tree: Weights, names: Sequence[str] | None = None) -> Tensor:
    """The tensors of a tree, or those of the given names, in one."""
    return torch.cat([tree[name].flatten() for name in names or tree])
