"""Quality of generated samples: do a classifier's labels agree, and how far is their distribution from the real one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch import Tensor

from learning import steps
from learning.data import Batches, Dataset
from learning.models import Mlp, Segment, whole
from learning.optimisers import Adam
from learning.ports import Streams
from learning.steps import Parameters

JUDGE, JUDGE_STEPS, JUDGE_BATCH = Mlp((64, 32)), 600, 64
"""The classifier, and its training on real samples by Adam."""
RIDGE = 1e-6
"""Variance that is added to each feature."""


class Quality(NamedTuple):
    """Quality of labelled samples."""

    agreement: float
    """Share of the samples whose label is that of the classifier."""
    frechet: float
    """Fréchet distance of their features from those of real samples."""


@dataclass(frozen=True)
class Judge:
    """A classifier of real samples, whose last hidden layer gives the features."""

    model: Segment
    parameters: Parameters

    @classmethod
    def trained(cls, dataset: Dataset, rows: NDArray[np.int64], streams: Streams) -> Judge:
        """Train the classifier on these rows of the training samples; samples are single arrays of one class each."""
        model = whole(JUDGE, dataset)
        dtype = dataset.train.arrays["x"].dtype
        parameters, optimiser = model.initial(streams, dtype), Adam(2e-3)
        data = Batches(dataset, rows, "judge", streams, JUDGE_BATCH, "wrap").stack(range(JUDGE_STEPS))
        xs, ys = ([leaf.tensor() for leaf in each] for each in data)  # type: ignore[union-attr]  # single arrays
        parameters, _, _ = steps.train(model, optimiser, parameters, optimiser.init(parameters), xs, ys)
        return cls(model, parameters)

    def features(self, x: Tensor) -> Tensor:
        """Output of the last hidden layer, (n, width), for samples (n, ...)."""
        front, _ = self.model.cut(self.model.last)
        return front({name: self.parameters[name] for name in front.parameters()}, x)

    def measure(self, x: Tensor, labels: Tensor, real: Tensor) -> Quality:
        """Measure the quality of labelled samples.

        Args:
            x: the samples, (n, ...).
            labels: their labels, (n,).
            real: real samples to compare with, (m, ...).
        """
        agreement = float((self.model(self.parameters, x).argmax(1) == labels).double().mean())
        return Quality(agreement, frechet_distance(*(self.features(each).double().numpy() for each in (x, real))))


def frechet_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Squared Fréchet distance of two Gaussians, |m - n|^2 + tr(S + T - 2 (S T)^(1/2)), fitted to features.

    Of the features of an Inception network it is the FID of Heusel et al., NeurIPS 2017.

    Args:
        a: features, (samples, width), of at least two samples.
        b: likewise.
    """
    ridge = RIDGE * np.eye(a.shape[1])  # features that are constant would make the product singular
    s, t = (np.cov(each, rowvar=False) + ridge for each in (a, b))
    root = np.real(sqrtm(s @ t))  # complex by rounding only
    distance = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s + t - 2 * root)
    return max(float(distance), 0.0)


def tensors(rows: NDArray[np.int64], dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Samples and labels of these rows of the training samples."""
    chosen = torch.from_numpy(rows)
    return dataset.train.arrays["x"][chosen], dataset.train.y[chosen]
