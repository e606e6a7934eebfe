"""Data sets of Hugging Face's library `datasets`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import torch

from learning.data.conversion import stacked
from learning.data.dataset import Dataset
from learning.data.files import given, reading
from learning.data.own.choices import Choices, Content, from_content

TEST = ("test", "validation")
"""Names of the split that is the test set beside `train`; the first that exists is used."""


@dataclass(frozen=True)
class HuggingFace(Choices):
    """A data set of Hugging Face's `datasets` that was saved to a folder; needs the extra netsim-learning[datasets]."""

    path: Annotated[str, Path]
    """The folder, as `save_to_disk` writes it; runs download nothing."""

    x: str
    """Column of the samples: images, or lists of numbers of equal length."""

    y: str = "label"
    """Column of the labels."""

    group: str | None = None
    """Column of the source of each sample, for the partition `natural` (default: its class)."""

    tokens: bool = False
    """Whether samples are rows of token numbers, for models that begin with an embedding."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load the splits `train` and `test`, or hold out a test set; `folder` is not used.

        Raises:
            MissingData: there is no such folder.
            ValueError: the library is not installed, the folder is damaged, or a column is missing.
        """
        library = _library()
        path = given(self.path)
        with reading(path):
            loaded = library.load_from_disk(str(path))
        train = loaded["train"] if isinstance(loaded, dict) else loaded
        held = next((loaded[name] for name in TEST if name in loaded), None) if isinstance(loaded, dict) else None
        test = None if held is None else _content(held, self.x, self.y, self.group)
        content = _content(train, self.x, self.y, self.group)
        return self.prepared(path.name, content, test, dtype, names=_names(train, self.y), tokens=self.tokens)


def _library() -> Any:
    try:
        return import_module("datasets")
    except ImportError as problem:
        raise ValueError(
            "data of Hugging Face need their library: pip install 'netsim-learning[datasets]'"
        ) from problem


def from_huggingface(
    dataset: Any, x: str, y: str = "label", group: str | None = None, test: Any = None, **choices: Any
) -> Dataset:
    """A data set of the rows of a `datasets.Dataset`.

    Args:
        dataset: The rows: one split.
        x: Column of the samples: images, or lists of numbers of equal length.
        y: Column of the labels.
        group: Column of the source of each sample, for the partition `natural` (default: its class).
        test: The split of the test set (default: some rows are held out).
        choices: Further arguments of `Dataset.from_arrays`: name, classes, test_fraction, standardise, dtype, ...

    Raises:
        ValueError: a column is missing, or its values have different shapes or are no numbers.
    """
    choices.setdefault("classes", _names(dataset, y) or None)
    train = _content(dataset, x, y, group)
    held = None if test is None else _content(test, x, y, group)
    return from_content(train, held, choices)


def _content(dataset: Any, x: str, y: str, group: str | None) -> Content:
    for column in (x, y, *([] if group is None else [group])):
        if column not in dataset.column_names:
            raise ValueError(f"the data set has no column {column}; it has {', '.join(dataset.column_names)}")
    samples, labels = (stacked(dataset[column], f"values of {column}") for column in (x, y))
    return Content(samples, labels, None if group is None else stacked(dataset[group], f"values of {group}"))


def _names(dataset: Any, y: str) -> tuple[str, ...]:
    return tuple(getattr(dataset.features.get(y), "names", ()))
