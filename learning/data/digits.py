"""The handwritten digits that are included in scikit-learn."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Interval, Le, MinLen
from numpy.typing import NDArray
from torch import Tensor

from learning.data.dataset import Dataset, Normalisation, Split, assemble, images
from learning.data.inversion import with_inverted
from learning.data.selection import balanced_order, first, of_classes
from learning.package_data import package_folder

NORMALISATION = Normalisation(largest=16, mean=(0.3053,), std=(0.3760,))
"""Mean and standard deviation of all 1 797 images."""

Pixels = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """8x8 grey handwritten digits, 1 797 images, 10 classes; included in scikit-learn, needs no files."""

    test_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """Fraction of the images of each class that is used for testing."""

    train_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many training images, in proportion to the classes (default: all)."""

    test_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many test images, in proportion to the classes (default: all)."""

    classes: Annotated[tuple[Annotated[int, Ge(0), Le(9)], ...], MinLen(2)] | None = None
    """Use only these classes, renumbered in this order (default: all)."""

    inverted: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Fraction of the images of each class, for training and for testing, whose pixels are inverted. Sources, which
    partitions divide, are then the classes of the other images followed by those of the inverted ones."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load from scikit-learn; `folder` is ignored."""
        pixels, labels = _carried()
        order = balanced_order(labels, "digits test split")
        held_out = max(1, round(self.test_fraction * len(order)))
        test, test_groups = self._split(pixels, labels, order[:held_out], self.test_samples, "digits test", dtype)
        train, groups = self._split(pixels, labels, order[held_out:], self.train_samples, "digits train", dtype)
        return assemble("digits", train, test, len(self.classes or range(10)), groups, test_groups)

    def _split(
        self, pixels: Pixels, labels: Labels, rows: Labels, samples: int | None, name: str, dtype: torch.dtype
    ) -> tuple[Split, Tensor | None]:
        kept, own = of_classes(labels[rows], self.classes)
        chosen = first(own, samples, name)
        own, shown = own[chosen], pixels[rows[kept[chosen]]]
        shown, groups = with_inverted(shown, own, self.inverted, 16, name)
        return images(shown, own, NORMALISATION, dtype), groups


def _carried() -> tuple[Pixels, Labels]:
    """Images (1797, 1, 8, 8) and labels, as `sklearn.datasets.load_digits` reads them.

    Read from the file of the package, because importing the package would dominate the start of a run.
    """
    rows = np.loadtxt(package_folder("sklearn", "the digits") / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    return rows[:, :-1].reshape(-1, 1, 8, 8), rows[:, -1].astype(np.int64)
