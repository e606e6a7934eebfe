"""How long a receiver listens, how many iterations it decodes, and what it has heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from learning.fountain.information import binary_input_capacity
from learning.fountain.propagation import Propagation, decoding_operations
from learning.ports import Channel, Heard

ROUNDING = 1e-6
"""Tolerance of a number of symbols that is the result of a time."""


@dataclass(frozen=True)
class Listening:
    """Rule by which each receiver chooses its number of symbols and of iterations, before it listens."""

    symbols: Annotated[float, Gt(0)] = 1.4
    """Symbols, in multiples of the fewest that an ideal code needs at the receiver's mean signal-to-noise ratio."""
    stop: Literal["planned", "decoded"] = "planned"
    """When a receiver stops: when it has `symbols`; or when it has decoded, by `syndrome`, which it finds out after
    `symbols` and then after every further `block` symbols of an image, while its radio sleeps."""
    block: Annotated[int, Ge(1)] = 16
    """Symbols of an image between two decodings."""
    syndrome: Annotated[float, Gt(0), Le(1)] = 0.9
    """Soft syndrome, relative to that of known bits, on average over the images, from which on they are decoded."""
    together: bool = False
    """Whether all receivers listen as long as the one that needs most symbols, as with a common rate."""
    iterations: Annotated[int, Ge(1)] = 20
    """Iterations of belief propagation, at most."""
    decoding_s: Annotated[float, Gt(0)] | None = None
    """Time in seconds that belief propagation on the images of a round may take at nominal speed, which limits the
    iterations of slow receivers to at least 1; null is no limit."""

    def __post_init__(self) -> None:
        if self.together and self.stop == "decoded":
            raise ValueError("receivers that listen together do not stop when they have decoded; choose one of the two")

    def symbols_of(self, unknown_bits: float, snr: float, most: int) -> int:
        """Symbols of an image of which this many bits are unknown, at a plain ratio; from 1 to `most`."""
        capacity = float(binary_input_capacity(torch.tensor(snr, dtype=torch.float64)))
        return min(max(ceil(self.symbols * unknown_bits / max(capacity, 1e-9)), 1), most)

    def iterations_of(
        self, symbols: int, images: int, mean_degree: float, propagation: Propagation, flops_per_s: float
    ) -> int:
        """Iterations for so many symbols of each of these images on a device of this speed in FLOP/s."""
        if self.decoding_s is None:
            return self.iterations
        each = images * decoding_operations(symbols, mean_degree, 1, propagation)
        return min(max(floor(self.decoding_s * flops_per_s / each), 1), self.iterations)


def mean_snr(downlink: Channel) -> float:
    """Ratio of a user's downlink, averaged over fading, as a plain ratio: the station's power fills the whole band."""
    return downlink.max_power_w * downlink.gain_over_noise_hz_per_w / downlink.bandwidth_hz


def symbol_snr(heard: Sequence[Heard], images: int, symbols: int) -> Tensor:
    """Ratio at which each symbol of an image was heard, where the symbols of all images take turns.

    Pauses of a receiver are left out: its n-th symbol stands for the n-th since it began, which is as good as any.

    Args:
        heard: what was heard of the stream, in order.
        images: number of images.
        symbols: number of symbols of an image that are considered.

    Returns:
        (symbols,) float32: plain ratios; 0 of symbols that were not heard of all images.
    """
    ratios = torch.zeros(symbols)
    begin = end = heard[0].first if heard else 0.0
    last = begin + sum(one.symbols for one in heard)
    for one in heard:
        begin, end = end, end + one.symbols
        first, after = ceil(begin / images - ROUNDING), ceil(end / images - ROUNDING)
        ratios[first : min(after, floor(last / images + ROUNDING))] = one.snr
    return ratios
