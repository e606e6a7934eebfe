"""Sizes of FedSL-PQ's messages in bits, as its message table counts them."""

from __future__ import annotations

from math import ceil, log2
from typing import Any

from learning.data import Rows
from learning.draws import Draw
from learning.executor.deferred import specification
from learning.reducers.dropout import Dropout

SEED_BITS = 64
"""Seed of a dropout mask: the server draws it again."""
SCALE_BITS = 64
"""Offset and scale of a quantised tensor."""


def _element_bits(value: Any) -> int:
    return 8 * int(specification(value).leaves[0].itemsize)


def kept(dropout: Dropout, z: Any, u: Draw | None) -> int:
    """How many activations of a mini-batch survive dropout, counted from the very draw that decides."""
    shape = tuple(specification(z).tree.shape)
    return specification(z).numel if u is None else dropout.kept(u, shape)


def smashed_data_bits(dropout: Dropout, mask_coding: str, z: Any, y: Rows, classes: int, u: Draw | None) -> int:
    """Kept activations, labels of ceil(log2 classes) bits, and what tells the server which activations were kept."""
    values = _element_bits(z) * kept(dropout, z, u)
    labels = y.meta.numel() * ceil(log2(classes))
    if u is None:
        return values + labels
    return values + labels + (SEED_BITS if mask_coding == "seed" else specification(z).numel)


def cut_gradient_bits(dropout: Dropout, bits: int | None, dz: Any, u: Draw | None) -> int:
    """The gradient on the kept positions: plain (`bits` is None), or quantised with its scale and offset."""
    count = kept(dropout, dz, u)
    return _element_bits(dz) * count if bits is None else bits * count + SCALE_BITS


def model_bits(weights: Any, removed: int) -> int:
    """The weights kept and, where any was removed, a bit for each weight that tells which."""
    spec = specification(weights)
    return _element_bits(weights) * (spec.numel - removed) + (spec.numel if removed else 0)
