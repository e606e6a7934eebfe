"""Images as transforms see them, with numbers in [0, 1], and how far received ones are from them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from learning.data import Dataset, Rows
from learning.ports import Streams

Span = tuple[float, float]
"""Values of black and white in the images of a data set."""

STEPS_TOGETHER = 4
"""Training steps in one operation."""


def drawn(
    streams: Streams, dataset: Dataset, steps: int, batch_size: int, *entity: str
) -> Iterator[tuple[int, tuple[int, int], Rows]]:
    """Draw the mini-batches of a training from the whole training set, with replacement, operation by operation.

    Args:
        streams: the run's random streams.
        dataset: the data set, of one array of images.
        steps: training steps.
        batch_size: images in a mini-batch.
        entity: what is trained, in the name of the draws.

    Yields:
        Number of the operation's first step; its shape (steps, images); and the images.
    """
    for first in range(0, steps, STEPS_TOGETHER):
        shape = min(STEPS_TOGETHER, steps - first), batch_size
        numbers = streams.generator("training images", *entity, first).integers(len(dataset.train.y), size=shape)
        yield first, shape, Rows(dataset, "train", "x", numbers)


def span_of(images: Tensor) -> Span:
    """Smallest and largest number in some images."""
    return float(images.min()), float(images.max())


def unit(images: Tensor, span: Span) -> Tensor:
    """Images with numbers in [0, 1]."""
    low, high = span
    return (images - low) / (high - low)


def distortion(images: Tensor, received: Tensor) -> Tensor:
    """Mean squared error of images (n, ...) and received ones (n, pixels), both in [0, 1]."""
    return (images.flatten(1) - received).square().mean()


def psnr_db(images: Tensor, received: Tensor, span: Span) -> Tensor:
    """Peak signal-to-noise ratio of each image in dB, (n,): of images (n, ...) and received ones in [0, 1]."""
    error = (unit(images, span).flatten(1) - received.flatten(1)).square().mean(-1)
    return -10 * torch.log10(error.clamp(min=1e-10))
