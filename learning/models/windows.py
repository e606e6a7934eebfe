"""Encoder of the windows of a signal."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Annotated

from annotated_types import Interval
from torch import nn


@dataclass(frozen=True)
class WindowEncoder:
    """Perceptron with ReLU on each of several windows (windows, ...) of a sample: features (windows, features).

    A tower of windows for `uncertainty_fusion`.
    """

    hidden: tuple[Annotated[int, Interval(ge=1, le=1_000_000)], ...] = (64,)
    """Widths of the hidden layers; an empty list is a linear map."""

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        """As `Architecture.blocks`, but for the output, (batch, windows, classes)."""
        if len(input_shape) < 2:
            raise ValueError(f"an encoder of windows needs several windows, but one sample has the shape {input_shape}")
        widths = (prod(input_shape[1:]), *self.hidden, classes)
        layers = [[nn.Linear(into, out), nn.ReLU()] for into, out in pairwise(widths)]
        layers[0].insert(0, nn.Flatten(2))
        layers[-1].pop()  # features are not rectified
        return [nn.Sequential(*layer) for layer in layers]
