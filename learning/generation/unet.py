"""The network of a diffusion model: a class-conditional U-Net of the library diffusers, as a pure function."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from math import gcd
from typing import Any

import torch
from torch import Tensor

from learning.models.initial import draw_parameter
from learning.models.stateless import Stateless
from learning.ports import Streams

MAX_GROUPS = 8
"""Groups of channels that are normalised together, at most."""


@dataclass(frozen=True)
class UNet:
    """A U-Net of residual convolutions that predicts the noise in an image (Ho et al., NeurIPS 2020).

    Raises ValueError where diffusers is not installed, or the sides of an image cannot be halved between levels.
    """

    shape: tuple[int, ...]
    """Shape of an image, (channels, height, width)."""
    classes: int
    """Number of classes."""
    channels: tuple[int, ...]
    """Channels of each level; from one level to the next the sides are halved."""
    layers: int
    """Residual blocks of a level."""
    version: str
    """Version of the library, whose code its values depend on."""

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise ValueError(f"a U-Net generates images, but one sample has the shape {self.shape}")
        parts = 2 ** (len(self.channels) - 1)
        if any(side % parts for side in self.shape[1:]):
            raise ValueError(
                f"sides of {self.shape[1]} x {self.shape[2]} pixels cannot be halved {len(self.channels) - 1} times; "
                f"give fewer channels"
            )
        _network(self)

    def __call__(self, parameters: dict[str, Tensor], x: Tensor, level: Any, labels: Tensor) -> Tensor:
        """Predict the noise (n, *shape) in images.

        Args:
            parameters: its parameters by name.
            x: images with noise, (n, *shape).
            level: noise level of all of them, an int, or of each, (n,).
            labels: their classes, (n,).
        """
        out: Tensor = _network(self)(parameters, x, level, labels).sample
        return out

    def parameters(self) -> dict[str, Tensor]:
        """Its parameters by name, as meta tensors."""
        return _network(self).parameters

    def initial(self, streams: Streams, dtype: torch.dtype) -> dict[str, Tensor]:
        """Initial parameters by name, drawn by name."""
        function = _network(self)
        return {name: draw_parameter(streams, name, function.owner(name), dtype) for name in function.parameters}


@cache
def _network(unet: UNet) -> Stateless:
    depth = len(unet.channels)
    with torch.device("meta"):
        module = library().UNet2DModel(
            in_channels=unet.shape[0],
            out_channels=unet.shape[0],
            layers_per_block=unet.layers,
            block_out_channels=unet.channels,
            down_block_types=("DownBlock2D",) * depth,
            up_block_types=("UpBlock2D",) * depth,
            norm_num_groups=gcd(MAX_GROUPS, *unet.channels),
            num_class_embeds=unet.classes,
            add_attention=False,
        )
    return Stateless(module.eval())


@cache
def library() -> Any:
    """The library diffusers, in offline mode. Raises ValueError where it is not installed."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        return import_module("diffusers")
    except ImportError as problem:
        raise ValueError(
            "the generator `diffusion` needs the package diffusers: pip install 'netsim-learning[diffusion]'"
        ) from problem
