"""Fashion-MNIST, from its four IDX files."""

import gzip
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Interval, Le, MinLen
from numpy.typing import NDArray
from torch import Tensor

from learning.data.canvas import on_canvas
from learning.data.dataset import Dataset, Normalisation, Split, assemble, images
from learning.data.files import check_pairs, find, reading
from learning.data.inversion import with_inverted
from learning.data.selection import first, of_classes

NORMALISATION = Normalisation(largest=255, mean=(0.2860,), std=(0.3530,))
"""Mean and standard deviation of the 60 000 training images."""

FILES = 4
"""Number of files of the data set, all of which are cached."""

PLACES = "fashion_mnist", "FashionMNIST/raw", ""
REMEDY = "put the four .gz files of https://github.com/zalandoresearch/fashion-mnist into the folder fashion_mnist"


@dataclass(frozen=True)
class FashionMnist:
    """28x28 grey images of clothing, 60 000 for training and 10 000 for testing, 10 classes; needs its IDX files."""

    # Xiao, Rasul and Vollgraf, arXiv 1708.07747.

    train_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many training images, in proportion to the classes (default: all)."""

    test_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many test images, in proportion to the classes (default: all)."""

    classes: Annotated[tuple[Annotated[int, Ge(0), Le(9)], ...], MinLen(2)] | None = None
    """Use only these classes, renumbered in this order (default: all)."""

    inverted: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Fraction of the images of each class, for training and for testing, whose pixels are inverted. Sources, which
    partitions divide, are then the classes of the other images followed by those of the inverted ones."""

    canvas: Annotated[int, Ge(28), Le(224)] | None = None
    """Side in pixels of a black square on which each image lies at a random place, the same in all runs (default: no
    canvas, 28x28)."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load from `folder`/fashion_mnist, `folder`/FashionMNIST/raw or `folder`, compressed (.gz) or not.

        Raises MissingData if a file is missing, ValueError if it is damaged.
        """
        train, groups = self._split(folder, "train", self.train_samples, dtype)
        test, test_groups = self._split(folder, "t10k", self.test_samples, dtype)
        return assemble("fashion_mnist", train, test, len(self.classes or range(10)), groups, test_groups)

    def _split(
        self, folder: Path | None, part: str, samples: int | None, dtype: torch.dtype
    ) -> tuple[Split, Tensor | None]:
        name = f"fashion_mnist {part}"
        all_labels = _read(folder, f"{part}-labels-idx1-ubyte", axes=1).astype(np.int64)
        all_pixels = _read(folder, f"{part}-images-idx3-ubyte", axes=3)
        check_pairs(name, all_pixels, all_labels)
        kept, labels = of_classes(all_labels, self.classes)
        rows = first(labels, samples, name)
        pixels, own = all_pixels[kept[rows], None], labels[rows]
        shown, groups = with_inverted(pixels, own, self.inverted, 255, name)
        shown = on_canvas(shown, kept[rows], self.canvas, name)
        return images(shown, own, NORMALISATION, dtype), groups


def _read(folder: Path | None, name: str, axes: int) -> NDArray[np.uint8]:
    return read_idx(find(folder, PLACES, (name, f"{name}.gz"), "Fashion-MNIST", REMEDY), axes)


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Bytes of an IDX file with that many axes: a big-endian header (magic number, lengths), then the values.

    Raises ValueError if it is damaged.
    """
    with reading(path):
        return _unpacked(path, path.stat().st_mtime_ns, axes)


@lru_cache(FILES)
def _unpacked(path: Path, _changed_ns: int, axes: int) -> NDArray[np.uint8]:
    """Decompress a file once: the points of a study read the same files, and decompression dominates loading."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    magic, *lengths = np.frombuffer(content, dtype=">u4", count=axes + 1).tolist()
    if magic != 0x800 + axes:
        raise ValueError(f"its magic number is {magic}, not {0x800 + axes}")
    return np.frombuffer(content, dtype=np.uint8, offset=4 * (axes + 1)).reshape(lengths)
