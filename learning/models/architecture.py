"""The interface of model families: a model is a list of blocks, and can be cut between any two of them."""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn


class Architecture(Protocol):
    """Description of a model; hashable, and equal descriptions build the same model."""

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        """Build the blocks in the order in which data flow through them.

        `input_shape` is one sample's shape without the batch axis, (channels, height, width) for images. The blocks map
        (batch, *input_shape) to logits (batch, classes). They are pure functions of parameters and input, without
        buffers and randomness; layers `nn.BatchNorm1d` to 3d, `nn.Dropout` and `Dropout1d` to 3d are made so. Raises
        ValueError if the shape does not fit.
        """
        ...

    def __hash__(self) -> int: ...


@runtime_checkable
class Pretrained(Protocol):
    """An architecture with pretrained weights."""

    def weights(self, input_shape: tuple[int, ...], classes: int) -> dict[str, Tensor]:
        """Pretrained parameters by their names in the whole model; parameters that are not among them are drawn."""
        ...


def pooled_side(shape: tuple[int, ...], poolings: int) -> tuple[int, int, int]:
    """Channels, height and width of an image (channels, height, width) after halving its sides `poolings` times."""
    if len(shape) != 3 or min(shape[1:]) < 2**poolings:
        raise ValueError(
            f"this model needs images of at least {2**poolings}x{2**poolings} pixels, but one sample is {shape}"
        )
    channels, height, width = shape
    return channels, height >> poolings, width >> poolings
