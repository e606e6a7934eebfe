"""Samples in a file of NumPy arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learning.data.dataset import Dataset
from learning.data.files import given, reading
from learning.data.own.choices import Choices, Content


@dataclass(frozen=True)
class Npz(Choices):
    """Arrays of a .npz file (`numpy.savez`), named by their keys: samples, labels, sources, perhaps a test set."""

    path: Annotated[str, Path]
    """The file."""

    x: str = "x"
    """Key of the samples, (n, ...); bytes (uint8) are pixels, and divided by 255."""

    y: str = "y"
    """Key of the labels, (n,) or (n, tokens): numbers of classes from 0, or names."""

    group: str | None = None
    """Key of the source of each sample (n,), for the partition `natural` (default: its class)."""

    x_test: str | None = None
    """Key of the samples of the test set (default: some samples are held out)."""

    y_test: str | None = None
    """Key of the labels of the test set."""

    group_test: str | None = None
    """Key of the sources of the test set."""

    channels: Literal["as_given", "last", "none"] = "as_given"
    """Layout of images whose axes are rearranged to (n, channels, height, width), as models read them: the channels
    are the `last` axis, (n, height, width, channels), or there are `none`, (n, height, width)."""

    tokens: bool = False
    """Whether samples are rows of token numbers, for models that begin with an embedding."""

    def __post_init__(self) -> None:
        if (self.x_test is None) != (self.y_test is None):
            raise ValueError("x_test and y_test belong together; give both, or none")
        if self.group_test is not None and self.x_test is None:
            raise ValueError("group_test names the sources of a test set; give x_test and y_test, too")

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load the file; `folder` is not used. Raises MissingData if there is none, ValueError if it is damaged."""
        path = given(self.path)
        with reading(path):  # numpy refuses pickled objects by default
            arrays = np.load(path)
            arrays = {key: arrays[key] for key in arrays.files}
        train = self._content(path, arrays, self.x, self.y, self.group)
        test = None
        if self.x_test is not None and self.y_test is not None:
            test = self._content(path, arrays, self.x_test, self.y_test, self.group_test)
        return self.prepared(path.stem, train, test, dtype, tokens=self.tokens)

    def _content(self, path: Path, arrays: Mapping[str, NDArray[Any]], x: str, y: str, group: str | None) -> Content:
        for key in (x, y, group):
            if key is not None and key not in arrays:
                raise ValueError(f"{path} has no array {key}; it has {', '.join(arrays)}")
        return Content(self._images(arrays[x]), arrays[y], None if group is None else arrays[group])

    def _images(self, x: NDArray[Any]) -> NDArray[Any]:
        if self.channels == "as_given":
            return x
        axes = 4 if self.channels == "last" else 3
        if x.ndim != axes:
            raise ValueError(f"with channels {self.channels} samples have {axes} axes, but theirs are {x.shape}")
        return np.moveaxis(x, -1, 1) if self.channels == "last" else x[:, None]


def save(dataset: Dataset, path: str | Path) -> Npz:
    """Write a data set to a .npz file and return its description, the `data` of a scenario.

    Args:
        dataset: what to write; its samples are single arrays.
        path: the file, whose name ends in .npz.

    Raises:
        ValueError: samples have several modalities, or the name of the file does not end in .npz.
    """
    if not str(path).endswith(".npz"):
        raise ValueError(f"{path} does not end in .npz")
    x, x_test = dataset.train.x, dataset.test.x
    if not isinstance(x, Tensor) or not isinstance(x_test, Tensor):
        raise ValueError(f"samples of {dataset.name} have several modalities, which this file cannot hold")
    tensors = {"x": x, "y": dataset.train.y, "x_test": x_test, "y_test": dataset.test.y}
    sources = {"group": dataset.groups, "group_test": dataset.test_groups}
    tensors |= {key: source for key, source in sources.items() if source is not None}
    arrays: dict[str, Any] = {key: tensor.numpy() for key, tensor in tensors.items()}
    np.savez(path, **arrays)
    return Npz(
        os.path.abspath(path),
        group="group" if dataset.groups is not None else None,
        x_test="x_test",
        y_test="y_test",
        group_test="group_test" if dataset.test_groups is not None else None,
        tokens=not x.is_floating_point(),
        classes=dataset.names or (dataset.classes if dataset.task == "classification" else None),
        task=dataset.task,
    )
