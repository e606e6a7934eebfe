"""Which numbers from training a controller may base decisions on: those of a diverged training are excluded."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

LARGEST = 1e30
"""Magnitude beyond which sums in single precision overflow: such a training has diverged."""


def usable(*numbers: ArrayLike) -> bool:
    """Whether all entries of these arrays or tensors are finite and at most LARGEST in magnitude."""
    return all(bool((np.abs(np.asarray(each)) <= LARGEST).all()) for each in numbers)
