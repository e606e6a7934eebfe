"""Images in folders, one for each class."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray

from learning.data.conversion import channels_first
from learning.data.dataset import Dataset
from learning.data.files import given, reading
from learning.data.own.choices import Choices, Content

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
"""Endings of files that are images; others are ignored."""

TEST = ("test", "val", "valid", "validation")
"""Names of the folder of the test set beside `train`; the first that exists is used."""

MODES = {"grey": "L", "rgb": "RGB"}
"""Modes of images in the library Pillow."""


@dataclass(frozen=True)
class ImageFolder(Choices):
    """Images in folders named after their classes, in `train` and `test` if the folder has these; read by Pillow."""

    path: Annotated[str, Path]
    """The folder: `cat/1.png`, `dog/2.png`, ... or `train/cat/1.png`, `test/cat/3.png`, ..."""

    side: Annotated[int, Interval(ge=1, le=100_000)] | None = None
    """Height and width in pixels to which images are resized (default: all have the same size, and keep it)."""

    colours: Literal["rgb", "grey"] = "rgb"
    """Whether images have three channels or one; pixels are divided by 255."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load the images; `folder` is not used.

        Raises MissingData if there is no such folder, ValueError if it has no images, or a file is damaged.
        """
        path = given(self.path)
        train = path / "train" if (path / "train").is_dir() else path
        held = next((path / name for name in TEST if train != path and (path / name).is_dir()), None)
        test = None if held is None else self._content(held)
        return self.prepared(path.name, self._content(train), test, dtype)

    def _content(self, folder: Path) -> Content:
        classes = sorted(inner for inner in folder.iterdir() if inner.is_dir())
        files = [
            (file, one.name) for one in classes for file in sorted(one.iterdir()) if file.suffix.lower() in ENDINGS
        ]
        if not files:
            raise ValueError(f"{folder} has no folders of images; images belong into a folder for each class")
        images = [self._pixels(file) for file, _ in files]
        for (file, _), image in zip(files, images, strict=True):
            if image.shape != images[0].shape:
                sizes = [f"{other.shape[2]}x{other.shape[1]}" for other in (images[0], image)]
                raise ValueError(f"images of {folder} differ in size: {sizes[0]}, and {sizes[1]} of {file}; give side")
        return Content(np.stack(images), [name for _, name in files])

    def _pixels(self, file: Path) -> NDArray[np.uint8]:
        """Pixels (channels, height, width) of an image."""
        library: Any = import_module("PIL.Image")
        with reading(file), library.open(file) as image:
            shown = image.convert(MODES[self.colours])
            if self.side is not None:
                shown = shown.resize((self.side, self.side))
            return channels_first(np.asarray(shown, dtype=np.uint8))
