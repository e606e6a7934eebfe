"""The interface of class-conditional generators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from learning.data.public import PublicData
from learning.executor import Executor
from learning.ports import Streams

Sampling: TypeAlias = tuple[Callable[..., torch.Tensor], *tuple[Any, ...]]
"""An operation that returns samples, (n, *shape of a sample), and its arguments. Its FLOPs are those of the samples."""


class Sampler(Protocol):
    """A trained generator."""

    def sampling(self, labels: NDArray[np.int64], streams: Streams, *entity: int | str) -> Sampling:
        """The operation that makes one sample of each of the given classes.

        Args:
            labels: classes, (n,).
            streams: the run's random streams.
            entity: what the samples are for, which names their draws.
        """
        ...


class Generator(Protocol):
    """A described generator of labelled samples, not yet trained."""

    def check(self, public: PublicData) -> None:
        """Raise ValueError if the public data do not suffice, or it cannot generate such, or a library is missing."""
        ...

    def train(self, public: PublicData, executor: Executor, precision: torch.dtype) -> Sampler:
        """Train it on public data, before simulated time begins.

        Args:
            public: the data; samples are single arrays with one class each.
            executor: runs the training, unless the result cache has its result.
            precision: number format of the samples.
        """
        ...
