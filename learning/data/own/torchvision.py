"""Data sets of torchvision, and any data set of torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import torch

from learning.data.conversion import stacked
from learning.data.dataset import Dataset, MissingData
from learning.data.files import given
from learning.data.own.choices import Choices, Content, from_content


@dataclass(frozen=True)
class TorchVision(Choices):
    """A data set of torchvision that was downloaded before; needs the extra netsim-learning[torchvision]."""

    dataset: str
    """Name of its class in `torchvision.datasets`, such as MNIST."""

    path: Annotated[str, Path]
    """The folder of its files: the argument `root` of the class."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load training and test set; `folder` is not used.

        Raises:
            MissingData: the files are not in the folder.
            ValueError: torchvision is not installed, or has no such data set.
        """
        kind, path = _class(self.dataset), given(self.path)
        choices: list[dict[str, Any]] = [{"train": True}, {"train": False}]
        if "train" not in signature(kind).parameters:
            choices = [{"split": "train"}, {"split": "test"}]
        try:
            train, test = (kind(str(path), **choice) for choice in choices)
        except RuntimeError as error:  # what torchvision raises for missing files
            raise MissingData(
                f"torchvision finds no {self.dataset} in {path} ({error}); download it with "
                f"torchvision.datasets.{self.dataset}({str(path)!r}, download=True)"
            ) from error
        names = tuple(str(name) for name in getattr(train, "classes", ()))
        return self.prepared(self.dataset, _content(train), _content(test), dtype, names=names)


def _class(name: str) -> Any:
    try:
        found = getattr(import_module("torchvision.datasets"), name, None)
    except ImportError as problem:
        raise ValueError(
            "data of torchvision need that package: pip install 'netsim-learning[torchvision]'"
        ) from problem
    except RuntimeError as problem:  # of a compiled part that does not fit
        reason = str(problem).partition("\n")[0]
        raise ValueError(
            f"torchvision cannot be imported ({reason}); install the version of it for this torch"
        ) from problem
    if not isinstance(found, type):
        raise ValueError(f"torchvision.datasets has no class {name}")
    return found


def from_torch(dataset: Any, test: Any = None, **choices: Any) -> Dataset:
    """A data set of the samples of a torch data set, or of another sequence of pairs of a sample and a label.

    Args:
        dataset: `torch.utils.data.Dataset` with a length, whose items are (sample, label): tensors, arrays or images.
        test: The same for the test set (default: some samples are held out).
        choices: Further arguments of `Dataset.from_arrays`: name, classes, test_fraction, standardise, dtype, ...

    Raises:
        ValueError: items have different shapes, or are no numbers.
    """
    choices.setdefault("classes", tuple(str(name) for name in getattr(dataset, "classes", ())) or None)
    return from_content(_content(dataset), None if test is None else _content(test), choices)


def _content(dataset: Any) -> Content:
    pairs = [dataset[number] for number in range(len(dataset))]
    return Content(stacked((x for x, _ in pairs), "samples"), stacked((y for _, y in pairs), "labels"))
