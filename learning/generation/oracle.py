"""Real images in place of generated ones, of which a given share has the right label: a control in experiments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from torch import Tensor

from learning.data import Rows
from learning.data.public import PublicData
from learning.executor import Executor
from learning.executor.flops import charge_elementwise
from learning.generation.generator import Sampling
from learning.ports import Streams


@dataclass(frozen=True)
class Oracle:
    """Real public images: with probability `fidelity` one of the class that is asked for, otherwise any of them.

    With 1 the labels are those of the images; with 0 they are shuffled, so that they say nothing about the images.
    """

    fidelity: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """Probability that an image is drawn from the class that is asked for, and not from all public ones."""
    flops_per_sample: Annotated[int, Ge(0)] = 0
    """FLOPs that are charged for an image."""

    def check(self, public: PublicData) -> None:
        """Raise ValueError if a class has no public sample."""
        public.rows_by_class()

    def train(self, public: PublicData, executor: Executor, precision: torch.dtype) -> RealImages:
        """As in `Generator`; nothing is trained."""
        return RealImages(self, public, public.rows_by_class())


class RealImages(NamedTuple):
    """The public images by class."""

    oracle: Oracle
    public: PublicData
    rows: list[NDArray[np.int64]]

    def sampling(self, labels: NDArray[np.int64], streams: Streams, *entity: int | str) -> Sampling:
        """As in `Sampler`."""
        generator = streams.generator("generated", *entity)
        right = generator.random(len(labels)) < self.oracle.fidelity
        place = generator.random(len(labels))
        chosen = [
            self.rows[label] if known else self.public.indices for label, known in zip(labels, right, strict=True)
        ]
        rows = np.array([own[int(u * len(own))] for own, u in zip(chosen, place, strict=True)], dtype=np.int64)
        return shown, self.oracle.flops_per_sample, Rows(self.public.dataset, "train", "x", rows)


def shown(flops_per_sample: int, x: Tensor) -> Tensor:
    """Images (n, ...) as they are, charged so many FLOPs each."""
    charge_elementwise(flops_per_sample, x.flatten(1)[:, 0])
    return x.clone()
