"""CIFAR-10, from its official python batches or from one .npz file."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Le, MinLen
from numpy.typing import NDArray

from learning.data.conversion import WHOLE
from learning.data.dataset import Dataset, Normalisation, Split, assemble, images
from learning.data.files import check_pairs, find, reading
from learning.data.selection import first, of_classes

NORMALISATION = Normalisation(largest=255, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
"""Mean and standard deviation of each colour over the 50 000 training images."""

SIDE = 32
"""Height and width of the images in pixels."""
SHAPE = (3, SIDE, SIDE)

BATCHES, EXTRACT = "cifar-10-batches-py", "cifar10_20k.npz"
REMEDY = f"unpack the python version of https://www.cs.toronto.edu/~kriz/cifar.html to the folder {BATCHES}"

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Cifar10:
    """32x32 colour images, 50 000 for training and 10 000 for testing, 10 classes; needs its files."""

    # Krizhevsky, Learning multiple layers of features from tiny images, 2009.

    train_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many training images, in proportion to the classes (default: all)."""

    test_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many test images, in proportion to the classes (default: all)."""

    classes: Annotated[tuple[Annotated[int, Ge(0), Le(9)], ...], MinLen(2)] | None = None
    """Use only these classes, renumbered in this order (default: all)."""

    crop: Annotated[int, Ge(1), Le(32)] | None = None
    """Keep only the square of this many pixels a side in the middle of each image (default: the whole image)."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load the official batches in `folder`/cifar-10-batches-py, else `folder`/cifar10_20k.npz.

        The latter contains x_train, x_test (n, 32, 32, 3) and y_train, y_test (n,) as uint8. Raises MissingData if both
        are missing, ValueError if a file is damaged.
        """
        path = find(folder, ("",), (BATCHES, EXTRACT), "CIFAR-10", REMEDY)
        train, test = _official(path) if path.is_dir() else _extract(path)
        return assemble(
            "cifar10",
            self._split(train, self.train_samples, "cifar10 train", dtype),
            self._split(test, self.test_samples, "cifar10 test", dtype),
            classes=len(self.classes or range(10)),
        )

    def _split(self, source: Images, samples: int | None, name: str, dtype: torch.dtype) -> Split:
        kept, labels = of_classes(source[1], self.classes)
        rows = first(labels, samples, name)
        side = self.crop or SIDE
        edge = (SIDE - side) // 2
        square = slice(edge, edge + side)
        return images(source[0][kept[rows], :, square, square], labels[rows], NORMALISATION, dtype)


def _official(folder: Path) -> tuple[Images, Images]:
    names = *(f"data_batch_{number}" for number in range(1, 6)), "test_batch"
    paths = [find(folder.parent, (BATCHES,), (name,), "a part of CIFAR-10", REMEDY) for name in names]
    *train, test = (read_batch(path) for path in paths)
    pixels, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return (pixels, labels), test


def _extract(path: Path) -> tuple[Images, Images]:
    with reading(path), np.load(path) as content:  # numpy refuses pickled objects by default
        train, test = ((content[f"x_{part}"].transpose(0, 3, 1, 2), content[f"y_{part}"]) for part in ("train", "test"))
    return _checked(path, *train), _checked(path, *test)


def read_batch(path: Path) -> Images:
    """Pixels (n, 3, 32, 32) and labels (n,) of one official batch file; raises ValueError if it is damaged."""
    with reading(path), path.open("rb") as file:
        content = _PlainUnpickler(file, encoding="bytes").load()
        pixels, labels = content[b"data"].reshape(-1, *SHAPE), np.array(content[b"labels"])
    return _checked(path, pixels, labels)


def _checked(path: Path, pixels: NDArray[Any], labels: NDArray[Any]) -> Images:
    """Images and labels of a file. Raises ValueError unless they are bytes of that shape, and as many whole numbers."""
    if pixels.dtype != np.uint8 or pixels.shape[1:] != SHAPE or labels.ndim != 1 or labels.dtype.kind not in WHOLE:
        images, of = (f"{each.dtype} {each.shape}" for each in (pixels, labels))
        raise ValueError(
            f"{path} is damaged: it has images of {images} and labels of {of}, not of bytes (n, 3, 32, 32) and whole "
            "numbers (n,); fetch it again"
        )
    check_pairs(path, pixels, labels)
    return pixels, labels.astype(np.int64)


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler that accepts the content of the official batches, arrays and plain values, and no code."""

    # numpy has moved the module of its first entry since the files were written, so names are resolved here.
    ADMITTED: ClassVar[dict[str, Any]] = {
        "_reconstruct": np.empty(0).__reduce__()[0],
        "ndarray": np.ndarray,
        "dtype": np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if name not in self.ADMITTED:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong there")
        return self.ADMITTED[name]
