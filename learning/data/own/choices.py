"""What a scenario says about data of the user's own, whatever they are read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Ge, Interval, MinLen
from numpy.typing import ArrayLike

from learning.data.dataset import Dataset, Task


class Content(NamedTuple):
    """Samples as they are read: x (n, ...), labels y (n,) or (n, tokens), and sources (n,), if there are some."""

    x: ArrayLike
    y: ArrayLike
    group: ArrayLike | None = None


def from_content(train: Content, test: Content | None, choices: dict[str, Any]) -> Dataset:
    """A data set of what is read: `Dataset.from_arrays` with its further arguments `choices`."""
    held = None if test is None else (test.x, test.y)
    sources = None if test is None else test.group
    return Dataset.from_arrays(train.x, train.y, test=held, groups=train.group, test_groups=sources, **choices)


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Classes, test set and scaling of data of the user's own."""

    classes: Annotated[int, Ge(2)] | Annotated[tuple[str, ...], MinLen(2)] | None = None
    """Number of classes, or their names in order (default: those that occur; names are put in alphabetical order)."""

    task: Task = "classification"
    """What is predicted: the class of a sample, or of each token; numbers (`regression`); or which of several labels a
    sample has, 0 or 1 each (`multi_label`). For the latter two `classes` are the names of the outputs, or nothing."""

    test_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """Fraction of the samples of each class that is used for testing, if the data have no test set of their own."""

    train_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many training samples, in proportion to the classes (default: all)."""

    test_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many test samples, in proportion to the classes (default: all)."""

    standardise: bool = False
    """Whether each feature, of images each colour, is shifted and scaled so that the training samples have mean 0 and
    standard deviation 1."""

    def prepared(
        self,
        name: str,
        train: Content,
        test: Content | None,
        dtype: torch.dtype,
        *,
        names: tuple[str, ...] = (),
        tokens: bool = False,
    ) -> Dataset:
        """The data set with these choices.

        Args:
            name: its name, for messages.
            train: what is read: all samples, or those for training.
            test: samples for testing; None holds out some of `train`.
            dtype: number format of the samples.
            names: names of the classes if the data have some.
            tokens: whether samples are rows of token numbers.
        """
        choices: dict[str, Any] = {
            "name": name,
            "classes": self.classes or names or None,
            "test_fraction": self.test_fraction,
            "task": self.task,
            "train_samples": self.train_samples,
            "test_samples": self.test_samples,
            "tokens": tokens,
            "standardise": self.standardise,
            "dtype": dtype,
        }
        return from_content(train, test, choices)
