"""LeNet-like convolutional network."""

from dataclasses import dataclass

from torch import nn

from learning.models.architecture import pooled_side


@dataclass(frozen=True)
class LeNet:
    """LeNet-5-like CNN: conv6 | conv16 | fc120 | fc84 | fc, with ReLU, max pooling and same-size convolutions."""

    # LeCun et al., Gradient-based learning applied to document recognition, 1998; padding makes 4x4 pixels enough.

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        channels, height, width = pooled_side(input_shape, 2)
        return [
            nn.Sequential(nn.Conv2d(channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Sequential(nn.Conv2d(6, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Sequential(nn.Flatten(), nn.Linear(16 * height * width, 120), nn.ReLU()),
            nn.Sequential(nn.Linear(120, 84), nn.ReLU()),
            nn.Linear(84, classes),
        ]
