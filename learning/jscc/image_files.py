"""Image files of a limited size: the images of a batch as one mosaic, so that they share the headers of one file.

Pillow codes the file. Its bytes depend on the versions of Pillow and of the codec that it brings.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from math import ceil, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Format = Literal["webp", "jpeg2000"]
"""WebP (lossy), or a bare codestream of JPEG 2000 (irreversible wavelet)."""
MODES = {1: "L", 3: "RGB"}
"""Channels of an image -> Pillow's name of its mode."""
WEBP_QUALITIES = range(0, 101, 2)
JPEG2000_SIZES = 24
"""Sizes, from half of the limit to all of it, for which the rate control of JPEG 2000 is asked."""


class ImageFile(NamedTuple):
    """A file, and what a decoder makes of it."""

    data: bytes
    """The bytes of the file."""
    images: Tensor
    """(n, pixels): the images, with numbers in [0, 1]."""


def best_file(images: Tensor, form: Format, max_bits: int) -> ImageFile | None:
    """The file with the smallest mean squared error among those that are not larger than a limit.

    Args:
        images: (n, channels, height, width) of 1 or 3 channels; numbers outside [0, 1] are limited to it.
        form: format of the file.
        max_bits: limit of its size in bits.

    Returns:
        The file, or None if none is so small.
    """
    wanted = images.clamp(0, 1).flatten(1)
    picture, rows = _mosaic(images)
    best, least = None, float("inf")
    for options in _settings(form, picture.size, max_bits / 8):
        data = _coded(picture, options)
        if 8 * len(data) > max_bits:
            continue
        found = _tiles(data, images, rows)
        error = float((found - wanted).square().mean())
        if error < least:
            best, least = ImageFile(data, found), error
    return best


def _settings(form: Format, values: int, max_bytes: float) -> Iterator[dict[str, Any]]:
    """Pillow's options for files of a mosaic of so many numbers."""
    if form == "webp":
        yield from ({"format": "WEBP", "quality": quality, "method": 6} for quality in WEBP_QUALITIES)
        return
    for step in range(JPEG2000_SIZES):
        size = max_bytes * (1 - step / (2 * JPEG2000_SIZES))
        if size >= 1:
            rate = max(1.0, values / size)
            layers = {"quality_mode": "rates", "quality_layers": [rate]}
            yield {"format": "JPEG2000", "no_jp2": True, "irreversible": True, **layers}


def _coded(picture: np.ndarray[Any, np.dtype[np.uint8]], options: dict[str, Any]) -> bytes:
    stream = BytesIO()
    Image.fromarray(picture).save(stream, **options)
    return stream.getvalue()


def _mosaic(images: Tensor) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], int]:
    """A nearly square picture of all images, (height, width[, 3]), and its rows; places without an image are grey."""
    count, channels, height, width = images.shape
    columns = max(1, round(sqrt(count * height / width)))
    rows = ceil(count / columns)
    places = torch.full((rows * columns, channels, height, width), float(images.clamp(0, 1).mean()))
    places[:count] = images.clamp(0, 1)
    grid = places.reshape(rows, columns, *images.shape[1:]).permute(0, 3, 1, 4, 2)
    picture = (255 * grid.reshape(rows * height, columns * width, channels)).round().to(torch.uint8).numpy()
    return (picture[..., 0] if channels == 1 else picture), rows


def _tiles(data: bytes, images: Tensor, rows: int) -> Tensor:
    """Images (n, pixels) in [0, 1] from the file of a mosaic with so many rows."""
    count, channels, height, width = images.shape
    with Image.open(BytesIO(data)) as opened:
        picture = torch.from_numpy(np.array(opened.convert(MODES[channels])))
    grid = picture.reshape(rows, height, -1, width, channels).permute(0, 2, 4, 1, 3)
    return (grid.flatten(0, 1)[:count].flatten(1) / 255).to(images.dtype)
