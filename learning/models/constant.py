"""Free parameters that begin at a given value."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn


class Constant(nn.Module):
    """A vector of free parameters, all of which begin at the same value."""

    def __init__(self, size: int, initial: float = 0.0) -> None:
        super().__init__()
        self.initial = initial
        self.value = nn.Parameter(torch.full((size,), initial))

    def draw(self, field: str, generator: np.random.Generator) -> ArrayLike:
        """The value at which they begin."""
        return np.full(len(self.value), self.initial)
