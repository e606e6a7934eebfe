"""VGG-like convolutional networks: stages of 3x3 convolutions, each closed by a 2x2 max pooling."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from annotated_types import Ge, Interval, MinLen
from torch import nn

from learning.models.architecture import pooled_side
from learning.models.norm import GroupNorm


@dataclass(frozen=True)
class VggMini:
    """VGG-like CNN without normalisation, 40 634 parameters on 28x28x1: conv16-conv16 | conv32-conv32 | conv64 | fc."""

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        channels, height, width = pooled_side(input_shape, 3)
        return [
            stage((channels, 16, 16)),
            stage((16, 32, 32)),
            stage((32, 64)),
            nn.Sequential(nn.Flatten(), nn.Linear(64 * height * width, classes)),
        ]


@dataclass(frozen=True)
class Vgg:
    """VGG-like CNN with GroupNorm after every convolution; one block a stage, then a linear classifier."""

    # Simonyan and Zisserman, arXiv 1409.1556; GroupNorm because averaging models corrupts the running statistics of
    # BatchNorm.

    channels: Annotated[tuple[Annotated[int, Interval(ge=1, le=1_000_000)], ...], MinLen(1)] = (32, 64, 128)
    """Channels of each stage; every stage halves height and width."""

    convolutions: Annotated[int, Interval(ge=1, le=1000)] = 2
    """3x3 convolutions in each stage."""

    groups: Annotated[int, Ge(1)] = 8
    """Groups of each GroupNorm; must divide every entry of `channels`."""

    def __post_init__(self) -> None:
        if uneven := [width for width in self.channels if width % self.groups]:
            raise ValueError(f"groups = {self.groups} does not divide the {uneven[0]} channels of a stage")

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        _, height, width = pooled_side(input_shape, len(self.channels))
        stages = [
            stage((before, *[after] * self.convolutions), self.groups)
            for before, after in pairwise((input_shape[0], *self.channels))
        ]
        return [*stages, nn.Sequential(nn.Flatten(), nn.Linear(self.channels[-1] * height * width, classes))]


def stage(channels: tuple[int, ...], groups: int = 0) -> nn.Sequential:
    """Same-size 3x3 convolutions through `channels`, each with ReLU (after GroupNorm if groups), then max pooling."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers.append(nn.Conv2d(before, after, 3, padding=1))
        layers += [GroupNorm(groups, after)] if groups else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.MaxPool2d(2))
