"""What a message of Flower weighs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def payload(content: Any) -> list[Tensor]:
    """The content of a message as tensors of the size that it takes on the air.

    An array has its elements, in its number format; a number 64 bits; text and bytes what they are. Names are free.

    Args:
        content: a `RecordDict`.
    """
    found: list[Tensor] = []
    for record in content.values():
        for value in record.values():
            found += map(_tensor, value if isinstance(value, list) else [value])
    return found


def _tensor(value: Any) -> Tensor:
    if isinstance(value, bool | int | float):
        return torch.empty(1, dtype=torch.float64)
    if isinstance(value, str | bytes):
        return torch.empty(len(value.encode() if isinstance(value, str) else value), dtype=torch.uint8)
    if value.stype == "numpy.ndarray":
        return torch.from_numpy(value.numpy())
    return torch.empty(len(value.data), dtype=torch.uint8)  # of a framework that Flower knows nothing of


def elements(content: Any) -> list[Tensor]:
    """The arrays of numbers in a message, as tensors without values that have their shapes."""
    arrays = [each for record in content.array_records.values() for each in record.values()]
    return [_shaped(each.numpy()) for each in arrays if each.stype == "numpy.ndarray"]


def _shaped(array: np.ndarray[Any, Any]) -> Tensor:
    return torch.empty(array.shape, device="meta")
