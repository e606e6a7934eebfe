"""Dropout of activations at the cut layer; dropped activations are not sent."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval
from torch import Tensor


@dataclass(frozen=True)
class Dropout:
    """Drops activations at random and scales the others by 1 / (1 - rate), so that their mean does not change."""

    # Multiply once in the forward pass; the backward pass through `apply` then scales and masks the gradient as well.

    rate: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Probability that an activation is dropped; 0 leaves everything as it is."""

    granularity: Literal["element", "channel"] = "element"
    """What is dropped: single activations, or whole channels (axis 1: feature maps of an image, tokens)."""

    def draw_shape(self, activations: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the uniform numbers that `mask` takes for activations of shape (samples, channels, ...).

        One number for each activation; or (samples, channels, 1, ...) where whole channels are dropped.
        """
        if self.granularity == "element":
            return activations
        return (*activations[:2], *[1] * (len(activations) - 2))

    def mask(self, u: Tensor) -> Tensor:
        """Which activations are kept: a boolean tensor in the shape of `u`, uniform numbers in [0, 1).

        Each entry is true with probability 1 - rate.
        """
        return u >= self.rate

    def apply(self, z: Tensor, mask: Tensor) -> Tensor:
        """The activations that a mask keeps, divided by 1 - rate, and zeros for the others.

        Args:
            z: activations, (samples, channels, ...).
            mask: what is kept, boolean, of a shape that can be broadcast to that of `z`.
        """
        return z * mask / (1 - self.rate)
