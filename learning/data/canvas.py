"""Images at random places of a larger canvas, so that what they show is not always in the middle."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning.data.selection import by_name


def on_canvas(pixels: NDArray[Any], rows: NDArray[np.int64], side: int | None, name: str) -> NDArray[Any]:
    """Put each image on a black square, at a place drawn uniformly among those at which it lies within.

    The place of an image depends on the name of the data set and on its row there alone, and not on the seed of a run.

    Args:
        pixels: images, (n, channels, height, width), neither side longer than `side`.
        rows: rows of the images in the data set, (n,).
        side: side of the square in pixels; None for the images as they are.
        name: name of the data set and of its part.

    Returns:
        (n, channels, side, side).
    """
    if side is None:
        return pixels
    count, channels, height, width = pixels.shape
    drawn = by_name(f"{name} canvas").random((int(rows.max()) + 1, 2))[rows]
    tops, lefts = (drawn * (side - np.array([height, width]) + 1)).astype(np.int64).T
    canvas = np.zeros((count, channels, side, side), dtype=pixels.dtype)
    for own, image, top, left in zip(canvas, pixels, tops, lefts, strict=True):
        own[:, top : top + height, left : left + width] = image
    return canvas
