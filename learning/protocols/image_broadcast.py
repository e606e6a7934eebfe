"""What schemes that broadcast images have in common: the images of a round, and the quality that users receive."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from statistics import fmean
from typing import NamedTuple

import numpy as np
from torch import Tensor

from learning.codecs import FixedWidth
from learning.data import Rows
from learning.executor.deferred import Deferred
from learning.jscc import similarity
from learning.jscc.images import Span, psnr_db
from learning.parties import User
from learning.world import World

ACKNOWLEDGEMENT = FixedWidth(8)
"""Codec of a user's acknowledgement."""


class Received(NamedTuple):
    """What a user has received in a round."""

    quality: Mapping[str, Deferred[Tensor]]
    """Metric -> its value for each image, (n,), as of `quality_of`."""
    symbols: float
    """Symbols that it has heard of each image."""
    iterations: int | None = None
    """Iterations of its decoder; None for a receiver without one."""
    decodings: int | None = None
    """How often it has decoded; None for a receiver that decodes once."""
    bits: float | None = None
    """Bits of each image in the file that is sent; None where there is no file."""
    error_rate: float | None = None
    """Probability with which a block code fails at its channel; None without such a code."""


def check_images(world: World, ms_ssim: bool) -> None:
    """Raise ValueError unless the data set consists of images of one modality, and these have the metrics asked for."""
    if not isinstance(world.dataset.train.x, Tensor) or world.dataset.train.x.dim() != 4:
        raise ValueError("the scheme broadcasts images; choose a data set of images of one modality")
    if ms_ssim:
        similarity.check_similarity(min(world.dataset.train.x.shape[-2:]))


def images_of(world: World, number: int, count: int) -> Rows:
    """The test images of a round, which go through the test set in order, again and again."""
    first = number * count
    return Rows(world.dataset, "test", "x", np.arange(first, first + count) % len(world.dataset.test.y))


def quality_of(
    world: World, images: Rows, received: Deferred[Tensor] | Tensor, span: Span, ms_ssim: bool
) -> dict[str, Deferred[Tensor]]:
    """Quality of received images (n, pixels) in [0, 1], as deferred values: PSNR and, if asked for, MS-SSIM."""
    quality = {"psnr_db": world.executor.submit(psnr_db, images, received, span)}
    if ms_ssim:
        quality["ms_ssim"] = world.executor.submit(similarity.ms_ssim, images, received, span)
    return quality


def report(world: World, number: int, images: int, received: Mapping[User, Received]) -> None:
    """Write what each user has received of so many images to the table `evaluations`, with the split `received`.

    Rows without a user are means over the users. The bandwidth ratio is the number of symbols over the number of values
    of an image.
    """
    assert isinstance(world.dataset.test.x, Tensor)
    pixels = world.dataset.test.x[0].numel()
    found: dict[str, list[float]] = {}
    for user, result in received.items():
        metrics = {metric: _mean(world, values) for metric, values in result.quality.items()}
        metrics |= {"symbols": result.symbols, "bandwidth_ratio": result.symbols / pixels}
        if result.iterations is not None:
            metrics["iterations"] = float(result.iterations)
        if result.decodings is not None:
            metrics["decodings"] = float(result.decodings)
        if result.bits is not None:
            metrics["bits_per_pixel"] = result.bits / pixels
        if result.error_rate is not None:
            metrics["error_rate"] = result.error_rate
        for metric, value in metrics.items():
            found.setdefault(metric, []).append(value)
            _write(world, number, images, metric, value, user.number)
    for metric, values in found.items():
        _write(world, number, images, metric, fmean(values))


def _mean(world: World, values: Deferred[Tensor]) -> float:
    return float(world.executor.value(values).mean()) if world.executor.computes else nan


def _write(world: World, number: int, images: int, metric: str, value: float, user: int | None = None) -> None:
    known = None if isnan(value) else value  # of a dry run nothing is
    world.journal.evaluation("received", metric, known, images, round=number, time_s=world.env.now, user=user)
