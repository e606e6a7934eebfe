"""Transport blocks: how many bits a slot carries, and into how many code blocks they are cut. Works on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from netsim.streams import Floats

SMALL_BLOCKS = np.array([
    *range(24, 192, 8), *range(192, 384, 16), *range(384, 576, 24), *range(576, 768, 32), *range(768, 928, 40),
    928, 984, 1032, 1064, 1128, *range(1160, 1352, 32), 1352, *range(1416, 1928, 64), *range(1928, 2024, 96),
    *range(2024, 2280, 64), 2280, *range(2408, 2856, 64), 2856, 2976, 3104, 3240, 3368, 3496, 3624, 3752, 3824,
])  # fmt: skip
"""Sizes of transport blocks up to 3,824 bits: TS 38.214 table 5.1.3.2-1."""
RESOURCE_ELEMENTS = 156
"""The most resource elements of a resource block in a slot that count for data (TS 38.214, 5.1.3.2)."""


def transport_block_bits(resource_elements: ArrayLike, modulation_order: ArrayLike, code_rate: ArrayLike) -> Floats:
    """Size of a transport block: TS 38.214, 5.1.3.2, for one layer.

    `resource_elements` are those for data in all resource blocks of the slot, at most 156 in each; `code_rate` is a
    fraction. The arguments go together as numpy has it: one value for each user, for instance. None carry no bits.
    """
    elements, rate = np.asarray(resource_elements, dtype=np.float64), np.asarray(code_rate, dtype=np.float64)
    bits = elements * rate * np.asarray(modulation_order)
    small, large = _small(bits), _large(bits, np.broadcast_to(rate, bits.shape))
    return np.where(bits <= 0, 0.0, np.where(bits <= 3824, small, large))


def _small(bits: Floats) -> Floats:
    step = 2.0 ** np.maximum(3, np.floor(np.log2(np.maximum(bits, 1))) - 6)
    rounded = np.maximum(24, step * np.floor(bits / step))
    nearest = np.searchsorted(SMALL_BLOCKS, np.minimum(rounded, 3824))
    return np.asarray(SMALL_BLOCKS[nearest], dtype=np.float64)


def _large(bits: Floats, rate: Floats) -> Floats:
    bits = np.maximum(bits, 3825)
    step = 2.0 ** (np.floor(np.log2(bits - 24)) - 5)
    rounded = np.maximum(3840, step * np.floor((bits - 24) / step + 0.5))  # halves go up
    largest = np.where(rate <= 0.25, 3816, 8424)
    blocks = np.where((rate <= 0.25) | (rounded > 8424), np.ceil((rounded + 24) / largest), 1)
    return np.asarray(8 * blocks * np.ceil((rounded + 24) / (8 * blocks)) - 24)


def code_blocks(bits: ArrayLike, code_rate: ArrayLike) -> tuple[Floats, Floats]:
    """Number of code blocks of a transport block, and the bits of each with its checks: TS 38.212, 7.2.1 and 5.2.2."""
    payload, rate = np.asarray(bits, dtype=np.float64), np.asarray(code_rate, dtype=np.float64)
    checked = payload + np.where(payload > 3824, 24, 16)
    second_graph = (payload <= 292) | ((payload <= 3824) & (rate <= 0.67)) | (rate <= 0.25)
    largest = np.where(second_graph, 3840, 8448)
    count = np.where(checked <= largest, 1, np.ceil(checked / (largest - 24)))
    return count, checked / count + np.where(count > 1, 24, 0)
