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
        """Load training and test set; of classes that have one set, some of it is held out. `folder` is not used.

        Raises:
            MissingData: the files are not in the folder.
            ValueError: torchvision is not installed, or has no such data set, or that needs more than a folder.
        """
        kind, path = _class(self.dataset), given(self.path)
        try:
            train, *test = (kind(str(path), **choice) for choice in _choices(kind))
        except (RuntimeError, OSError) as error:  # what torchvision raises for missing files
            raise MissingData(
                f"torchvision finds no {self.dataset} in {path} ({error}); download it with "
                f"torchvision.datasets.{self.dataset}({str(path)!r}, download=True)"
            ) from error
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"torchvision.datasets.{self.dataset} cannot be made of a folder alone ({error}); make it in Python, "
                "and save it for a scenario with learning.data.save(from_torch(...), FILE)"
            ) from error
        names = tuple(str(name) for name in getattr(train, "classes", ()))
        held = _content(test[0]) if test else None
        return self.prepared(self.dataset, _content(train), held, dtype, names=names)


def _choices(kind: Any) -> list[dict[str, Any]]:
    """Arguments of a class of torchvision for its training and its test set; one choice if it does not divide them."""
    arguments = signature(kind).parameters
    if "root" not in arguments:
        raise TypeError("it has no argument root")
    if "train" in arguments:
        return [{"train": True}, {"train": False}]
    return [{"split": "train"}, {"split": "test"}] if "split" in arguments else [{}]


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
