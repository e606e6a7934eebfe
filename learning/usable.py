"""Which of the numbers that a training produces a controller may decide by."""

from __future__ import annotations

from typing import Any

import numpy as np

LARGEST = 1e30
"""Beyond it single precision cannot add a few numbers up: such a training has diverged."""


def usable(*numbers: Any) -> bool:
    """Whether all entries of these arrays or tensors are finite, and none is larger than LARGEST in magnitude."""
    return all(bool((np.abs(np.asarray(each)) <= LARGEST).all()) for each in numbers)
