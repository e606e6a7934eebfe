"""Data sets in memory, and what a loader must offer."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class MissingData(LookupError):
    """The files of a data set are not there; the message says what, where it was looked for, and how to get it."""


@dataclass(frozen=True, eq=False)
class Split:
    """Samples x (n, *input_shape) and their labels y (n,), int64."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set; `fingerprint` is the SHA-256 of its content: equal fingerprints, equal tensors."""

    name: str
    train: Split
    test: Split
    classes: int
    input_shape: tuple[int, ...]
    fingerprint: str


class DatasetLoader(Protocol):
    """A described data set, not yet loaded."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Read it with samples as `dtype`, its files under `folder`; raises MissingData if they are not there."""
        ...


def assemble(name: str, train: Split, test: Split, classes: int) -> Dataset:
    """Put two splits together and compute the fingerprint."""
    digest = hashlib.sha256()
    for tensor in (train.x, train.y, test.x, test.y):
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return Dataset(name, train, test, classes, tuple(train.x.shape[1:]), digest.hexdigest())


def images(
    pixels: np.ndarray, labels: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype
) -> Split:
    """Images (n, channels, height, width) in [0, 1], normalised to (value - mean) / std channel by channel."""
    centre, spread = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (mean, std))
    x = (torch.from_numpy(np.ascontiguousarray(pixels)).double() - centre) / spread
    return Split(x.to(dtype), torch.from_numpy(labels.astype(np.int64)))
