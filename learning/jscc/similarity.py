"""Multi-scale structural similarity of received images, by the library torchmetrics.

[Wang, Simoncelli, Bovik, Multiscale structural similarity for image quality assessment, Asilomar Conference 2003]
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from itertools import takewhile
from typing import Any

from torch import Tensor

from learning.jscc.images import Span, unit

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, from the finest on, as published; they sum to 1."""
SMALLEST_SIDES = (11, 22, 44, 99, 176)
"""Pixels of the smallest side from which on an image has 1 to 5 scales: the window of 11 pixels fits into the coarsest
one. For four scales 88 would do; torchmetrics asks for 99."""


def scales(side: int) -> int:
    """Number of scales of an image whose smallest side has so many pixels: 0 to 5."""
    return sum(1 for _ in takewhile(lambda smallest: smallest <= side, SMALLEST_SIDES))


def exponents(side: int) -> tuple[float, ...]:
    """Exponents of the scales of such an image: those of its finest ones, divided by their sum."""
    own = EXPONENTS[: scales(side)]
    return tuple(each / sum(own) for each in own)


@cache
def library() -> Any:
    """The functions of torchmetrics on images. Raises ValueError where it is not installed."""
    try:
        return import_module("torchmetrics.functional.image")
    except ImportError as problem:
        raise ValueError("ms_ssim needs the package torchmetrics: pip install 'netsim-learning[images]'") from problem


def check_similarity(side: int) -> None:
    """Raise ValueError unless torchmetrics is installed and images with this smallest side have a scale."""
    if not scales(side):
        raise ValueError(f"ms_ssim: found images of {side} pixels at the smallest side, at least {SMALLEST_SIDES[0]}")
    library()


def ms_ssim(images: Tensor, received: Tensor, span: Span) -> Tensor:
    """MS-SSIM of each image, (n,), 1 if nothing differs: of images (n, c, h, w) and received ones in [0, 1].

    Images have as many scales as fit, see `scales`; with one it is SSIM. A negative contrast counts as 0.
    """
    result: Tensor = library().multiscale_structural_similarity_index_measure(
        received.reshape(images.shape),
        unit(images, span),
        reduction="none",
        data_range=1.0,
        betas=exponents(min(images.shape[-2:])),
        normalize="relu",
    )
    return result
