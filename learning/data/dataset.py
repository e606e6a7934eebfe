"""Data sets in memory, and what a loader must offer."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class MissingData(LookupError):
    """The files of a data set are not there; the message says what, where it was looked for, and how to get it."""


@dataclass(frozen=True, eq=False)
class Split:
    """Samples x (n, *input_shape) and their labels y, int64: (n,), or (n, tokens) where every token has one."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set; `fingerprint` is the SHA-256 of its content: equal fingerprints, equal tensors.

    For a language model each sample is a row of tokens (int64), whose classes are the tokens that may come next.
    """

    name: str
    train: Split
    test: Split
    classes: int
    input_shape: tuple[int, ...]
    fingerprint: str
    groups: Tensor | None = None
    """Whom each training sample comes from (n,), such as the role of a play, where the data tell."""

    @property
    def kinds(self) -> Tensor:
        """What partitions go by: whom each training sample comes from, else its class."""
        return self.train.y if self.groups is None else self.groups


class DatasetLoader(Protocol):
    """A described data set, not yet loaded."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Read it with samples as `dtype`, its files under `folder`; raises MissingData if they are not there."""
        ...


def assemble(name: str, train: Split, test: Split, classes: int, groups: Tensor | None = None) -> Dataset:
    """Put two splits together and compute the fingerprint."""
    digest = hashlib.sha256()
    for tensor in (train.x, train.y, test.x, test.y):
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return Dataset(name, train, test, classes, tuple(train.x.shape[1:]), digest.hexdigest(), groups)


@dataclass(frozen=True)
class Normalisation:
    """Maps a pixel to (pixel / largest - mean) / std with one mean and one standard deviation for each channel."""

    largest: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


def images(pixels: NDArray[Any], labels: NDArray[np.int64], normalisation: Normalisation, dtype: torch.dtype) -> Split:
    """Normalise images (n, channels, height, width) channel by channel."""
    mean, std = (torch.tensor(v, dtype=dtype).view(1, -1, 1, 1) for v in (normalisation.mean, normalisation.std))
    x = torch.tensor(pixels.reshape(-1), dtype=dtype).view(
        pixels.shape
    )  # a copy in plain rows: may be changed in place
    return Split(x.div_(normalisation.largest).sub_(mean).div_(std), torch.tensor(labels, dtype=torch.int64))
