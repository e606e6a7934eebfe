"""Data sets in memory, and the interface of their loaders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from learning.data.conversion import (
    Arrays,
    class_numbers,
    numbers,
    source_numbers,
    standardised,
    targets,
    token_numbers,
)
from learning.data.modalities import Modalities, masked, with_values

PARTS = "training", "test"
"""Names of the two splits of a data set, for messages."""

Task = Literal["classification", "regression", "multi_label"]
"""What a data set has to predict: a class, numbers, or which of several labels a sample has."""

Samples = ArrayLike | Mapping[str, ArrayLike]
"""Samples (n, ...), or the same samples in several modalities by name."""


class MissingData(LookupError):
    """The files of a data set are missing; the message names them, where they were searched, and how to get them."""


@dataclass(frozen=True, eq=False)
class Split:
    """Samples and their labels y.

    Labels are classes, int64: (n,), or (n, tokens) where every token has one; or numbers to be predicted, in floating
    point (n, outputs); or bool (n, outputs), where a sample may have several labels.

    Samples x are one array (n, *input_shape), or one for each modality.
    """

    x: Tensor | Modalities
    y: Tensor

    @cached_property
    def arrays(self) -> dict[str, Tensor]:
        """Arrays by name: `x` and `y`; with several modalities `values.<modality>`, `present.<modality>` and `y`."""
        if not isinstance(self.x, Modalities):
            return {"x": self.x, "y": self.y}
        trees = vars(self.x).items()
        return {f"{field}.{name}": array for field, tree in trees for name, array in tree.items()} | {"y": self.y}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the arrays: equal fingerprints, equal tensors."""
        digest = hashlib.sha256()
        for array, tensor in self.arrays.items():
            modality = array if "." in array else ""
            digest.update(f"{modality}{tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and labels for training and for testing.

    For a language model each sample is a row of tokens (int64), whose classes are the tokens that may come next.
    """

    name: str
    train: Split
    test: Split
    classes: int
    """Number of classes; of numbers that are predicted, or of labels of a sample, how many there are."""
    groups: Tensor | None = None
    """Source of each training sample (n,), such as the role of a play, if known."""
    test_groups: Tensor | None = None
    """Source of each test sample (n,), if known."""
    names: tuple[str, ...] = ()
    """Names of the classes or outputs, in order; empty if they are not known."""

    @classmethod
    def from_arrays(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        *,
        test: tuple[ArrayLike, ArrayLike] | None = None,
        groups: ArrayLike | None = None,
        test_groups: ArrayLike | None = None,
        name: str = "own data",
        classes: int | Sequence[str] | None = None,
        task: Task = "classification",
        test_fraction: float = 0.2,
        train_samples: int | None = None,
        test_samples: int | None = None,
        tokens: bool = False,
        standardise: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> Dataset:
        """A data set of samples and labels that are arrays, tensors or lists.

        Args:
            x: Samples (n, ...), images as (n, channels, height, width). Bytes (uint8) are pixels, and divided by 255.
            y: Labels (n,), or (n, tokens): numbers of classes from 0, or names of classes; or as `task` says.
            test: Samples and labels of the test set (default: `test_fraction` of the given samples).
            groups: Source of each sample (n,), a number or a name, for the partition `natural` (default: its class).
            test_groups: Source of each sample of `test`.
            name: Name for messages.
            classes: Number of classes, or their names in order (default: those that occur).
            task: What is predicted: the class of a sample (`classification`), numbers (n,) or (n, outputs)
                (`regression`), or which of several labels a sample has, 0 or 1 (n, labels) (`multi_label`).
            test_fraction: Fraction of the samples of each class that is used for testing, if `test` is not given. Which
                ones depends on `name`, and not on the seed of a run.
            train_samples: Use only this many training samples, in proportion to the classes (default: all).
            test_samples: Use only this many test samples, in proportion to the classes (default: all).
            tokens: Whether samples are rows of token numbers, for models that begin with an embedding.
            standardise: Whether each feature, of images each channel, is shifted and scaled so that the training
                samples have mean 0 and standard deviation 1.
            dtype: Number format of the samples: float32 or float64.

        Raises:
            ValueError: lengths differ, values are no numbers or not finite, or a label is out of range.
        """
        given = [(x, y, groups)] if test is None else [(x, y, groups), (*test, test_groups)]
        inputs, outputs, sources = zip(*given, strict=True)
        samples = [
            token_numbers(each, f"samples of {name}") if tokens else numbers(each, f"samples of {name}")
            for each in inputs
        ]
        convert = class_numbers if task == "classification" else partial(targets, task == "multi_label")
        labels, count, names = convert(outputs, classes, f"labels of {name}")
        numbered = source_numbers(sources, f"sources of {name}")
        parts = [Arrays(*each) for each in zip(samples, labels, numbered, strict=True)]
        for part in parts:
            part.check(name)
        shapes = [part.x.shape[1:] for part in parts]
        if not tokens and len(set(shapes)) > 1:
            raise ValueError(f"samples of {name} have the shape {shapes[0]} for training, but {shapes[1]} for testing")
        train, held = parts if test is not None else parts[0].held_out(test_fraction, name)
        train, held = train.first(train_samples, f"{name} train"), held.first(test_samples, f"{name} test")
        if standardise and not tokens:
            train, held = standardised(train, held)
        splits = [Split(_tensor(part.x, dtype), _tensor(part.y, dtype)) for part in (train, held)]
        of = [None if part.source is None else torch.from_numpy(part.source) for part in (train, held)]
        return assemble(name, splits[0], splits[1], count, of[0], of[1], names=names)

    @classmethod
    def from_splits(
        cls,
        name: str,
        train: tuple[Samples, ArrayLike],
        test: tuple[Samples, ArrayLike],
        classes: int,
        *,
        present: tuple[Mapping[str, ArrayLike], Mapping[str, ArrayLike]] = ({}, {}),
        groups: ArrayLike | None = None,
    ) -> Dataset:
        """A data set of two splits that are arrays in memory, of one modality or several.

        Args:
            name: Name for messages.
            train: Samples (n, ...), or {modality: samples (n, ...)} of several modalities, and labels (n,).
            test: The same for the test set.
            classes: Number of classes; labels are 0 to classes - 1.
            present: Which samples have a modality, {modality: bool (n,)} for train and for test (default: all have it).
                Missing arrays are stored as zeros.
            groups: Source of each training sample (n,), for the partition `natural` (default: its class).

        Raises:
            ValueError: lengths differ, a label is out of range, or a sample has no modality at all.
        """
        names = [f"the {part} set of {name}" for part in PARTS]
        splits = [_split(*each) for each in zip(names, *zip(train, test, strict=True), present, strict=True)]
        return assemble(name, splits[0], splits[1], classes, None if groups is None else torch.as_tensor(groups))

    def check_precision(self, dtype: torch.dtype) -> None:
        """Raise ValueError unless samples that are numbers have the number format `dtype`, that of the weights."""
        for array, tensor in self.train.arrays.items():
            if tensor.is_floating_point() and tensor.dtype != dtype:
                found, needed = (str(each).removeprefix("torch.") for each in (tensor.dtype, dtype))
                raise ValueError(
                    f"{array} of {self.name} is {found}, but learning.precision is {needed}; `load` gets the number "
                    "format of samples as its argument dtype"
                )

    @property
    def fingerprint(self) -> tuple[str, str]:
        """SHA-256 of the arrays of the training set and of the test set."""
        return self.train.fingerprint, self.test.fingerprint

    @property
    def task(self) -> Task:
        """What is predicted: a class, numbers, or which of several labels a sample has."""
        if self.train.y.is_floating_point():
            return "regression"
        return "multi_label" if self.train.y.dtype == torch.bool else "classification"

    @property
    def modalities(self) -> dict[str, tuple[int, ...]]:
        """Modality -> shape of its array in one sample; empty if samples are single arrays."""
        x = self.train.x
        return {name: tuple(array.shape[1:]) for name, array in x.values.items()} if isinstance(x, Modalities) else {}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample. Raises ValueError if samples have several modalities."""
        if isinstance(self.train.x, Modalities):
            raise ValueError(f"samples of {self.name} have several modalities: {', '.join(self.modalities)}")
        return tuple(self.train.x.shape[1:])

    @property
    def kinds(self) -> Tensor:
        """Source of each training sample (n,) for partitions, or its class if sources are not known.

        Where every token has a label, samples of unknown sources are all of one kind.
        """
        if self.groups is not None:
            return self.groups
        return _one_kind(self.train)

    @property
    def kinds_of_both(self) -> tuple[Tensor, Tensor]:
        """Sources of the training samples and of the test samples, (n,) each; or their classes, if not both are known.

        Where every token has a label, samples of unknown sources are all of one kind.
        """
        if self.groups is not None and self.test_groups is not None:
            return self.groups, self.test_groups
        return _one_kind(self.train), _one_kind(self.test)


class DatasetLoader(Protocol):
    """A described data set, not yet loaded."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load it with samples as `dtype` from files under `folder`; raises MissingData if they are missing."""
        ...


def assemble(
    name: str,
    train: Split,
    test: Split,
    classes: int,
    groups: Tensor | None = None,
    test_groups: Tensor | None = None,
    *,
    names: tuple[str, ...] = (),
) -> Dataset:
    """Make a data set from two splits that are checked; sources and names as in `Dataset`.

    Raises:
        ValueError: a split is empty, lengths differ, a label is out of range, or a value is not finite.
    """
    for part, split in zip(PARTS, (train, test), strict=True):
        _check(f"the {part} set of {name}", split, classes)
    return Dataset(name, train, test, classes, groups, test_groups, names)


def _check(name: str, split: Split, classes: int) -> None:
    labels = split.y
    if not labels.numel():
        raise ValueError(f"{name} has no samples")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        if labels.shape[1:] != (classes,):
            raise ValueError(f"the labels of {name} have the shape {tuple(labels.shape)}; (n, {classes}) is needed")
    elif labels.dtype != torch.int64:
        raise ValueError(f"the labels of {name} are {labels.dtype}; numbers of classes, torch.int64, are needed")
    else:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise ValueError(f"the labels of {name} go from {low} to {high}; 0 to {classes - 1} are allowed")
    _check_lengths(name, split)
    for array, tensor in split.arrays.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{array} of {name} has values that are not finite")


def _check_lengths(name: str, split: Split) -> None:
    for array, tensor in split.arrays.items():
        if len(tensor) != len(split.y):
            raise ValueError(f"{array} of {name} has {len(tensor)} rows, but there are {len(split.y)} labels")


def _tensor(values: NDArray[Any], dtype: torch.dtype) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _one_kind(split: Split) -> Tensor:
    """The classes of samples (n,); zeros if every token has one."""
    return split.y if split.y.ndim == 1 else torch.zeros(len(split.y), dtype=torch.int64)


def _split(name: str, x: Samples, y: ArrayLike, present: Mapping[str, ArrayLike]) -> Split:
    labels = torch.as_tensor(y, dtype=torch.int64)
    split = Split(_modalities(name, x, present) if isinstance(x, Mapping) else torch.as_tensor(x), labels)
    _check_lengths(name, split)
    if not isinstance(split.x, Modalities):
        return split
    if not bool(torch.stack(list(split.x.present.values())).any(0).all()):
        raise ValueError(f"a sample of {name} has no modality at all")
    values = {modality: masked(array, split.x.present[modality]) for modality, array in split.x.values.items()}
    return Split(with_values(split.x, values), labels)


def _modalities(name: str, x: Mapping[str, ArrayLike], present: Mapping[str, ArrayLike]) -> Modalities:
    if strangers := present.keys() - x.keys():
        raise ValueError(f"{name} has no modality {', '.join(sorted(strangers))}; it has {', '.join(x)}")
    values = {modality: torch.as_tensor(array) for modality, array in x.items()}
    everywhere = {modality: np.ones(len(array), dtype=bool) for modality, array in values.items()}
    masks = {m: torch.as_tensor(mask, dtype=torch.bool) for m, mask in {**everywhere, **present}.items()}
    return Modalities(values, masks)


@dataclass(frozen=True)
class Normalisation:
    """Mapping of a pixel to (pixel / largest - mean) / std, with a mean and a standard deviation for each channel."""

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
