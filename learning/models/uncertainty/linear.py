"""Linear maps of several modalities at once."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn


class LinearOfEach(nn.Module):
    """A linear map of its own for each modality, all in one matrix product."""

    def __init__(self, modalities: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(modalities, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(modalities, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., modalities, inputs) to (..., modalities, outputs)."""
        modalities, inputs = x.shape[-2:]
        rows = x.reshape(-1, modalities, inputs).transpose(0, 1)
        mapped = (rows @ self.weight.transpose(1, 2)).transpose(0, 1) + self.bias
        return mapped.reshape(*x.shape[:-1], self.weight.shape[1])

    def draw(self, field: str, generator: np.random.Generator) -> ArrayLike:
        """Initial weights or biases: uniform in +-1/sqrt(inputs), as those of a single linear map."""
        bound = self.weight.shape[-1] ** -0.5
        return generator.uniform(-bound, bound, tuple(self.get_parameter(field).shape))
