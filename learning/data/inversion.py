"""Inverted images, so that data differ in style: the same classes, light on dark and dark on light."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learning.data.selection import balanced_order


def with_inverted(
    pixels: NDArray[Any], labels: NDArray[np.int64], share: float, largest: int, name: str
) -> tuple[NDArray[Any], Tensor | None]:
    """Invert a share of the images of each class: a pixel becomes `largest` minus itself.

    Which ones depends on the name of the data set alone, and not on the seed of a run.

    Args:
        pixels: images, (n, channels, height, width).
        labels: their classes, (n,).
        share: fraction of the images of each class that is inverted, to within one image, in [0, 1].
        largest: the largest value of a pixel.
        name: name of the data set and of its part.

    Returns:
        The images, and the source of each of them, (n,): its class, and for inverted ones that plus the number of
        classes. Without inverted images there are no sources (None).
    """
    count = round(share * len(labels))
    if not count:
        return pixels, None
    inverted = np.zeros(len(labels), dtype=np.bool_)
    inverted[balanced_order(labels, f"{name} inverted")[:count]] = True
    shown = np.where(inverted[:, None, None, None], largest - pixels, pixels)
    return shown, torch.from_numpy(labels + (int(labels.max()) + 1) * inverted)
