"""Multi-layer perceptron."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Annotated

from annotated_types import Interval
from torch import nn


@dataclass(frozen=True)
class Mlp:
    """Multi-layer perceptron with ReLU; one block a layer."""

    hidden: tuple[Annotated[int, Interval(ge=1, le=1_000_000)], ...] = (64, 64)
    """Widths of the hidden layers; an empty list gives multinomial logistic regression."""

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        widths = (prod(input_shape), *self.hidden, classes)
        layers = [[nn.Linear(into, out), nn.ReLU()] for into, out in pairwise(widths)]
        layers[0].insert(0, nn.Flatten())
        layers[-1].pop()  # logits are not rectified
        return [nn.Sequential(*layer) for layer in layers]
