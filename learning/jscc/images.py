"""Images as transforms see them, with numbers in [0, 1], and how far received ones are from them."""

from __future__ import annotations

import torch
from torch import Tensor

Span = tuple[float, float]
"""Values of black and white in the images of a data set."""


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
