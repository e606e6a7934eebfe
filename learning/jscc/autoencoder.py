"""Nonlinear transforms between images and binary latents, with hyper-latents as side information.

Analysis maps an image to k bits, hyper-analysis these to a few integers. Hyper-synthesis gives from the integers, which
every receiver has, a prior of each bit and features for the synthesis of the image. [Ballé et al., Variational image
compression with a scale hyperprior, ICLR 2018; binary latents: Qin et al., arXiv 2603.21616]
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Annotated, NamedTuple

import torch
from annotated_types import Ge, Interval
from torch import Tensor

from learning.jscc.perceptron import Parameters, initial, perceptron
from learning.ports import Streams

HYPER_WIDTH = 6
"""Bits of a hyper-latent that is sent: an integer from -31 to 31."""


class Latents(NamedTuple):
    """What the transforms make of n images of k bits."""

    llrs: Tensor
    """(n, k): LLRs ln q(0)/q(1) of the bits that the analysis proposes."""
    hyper: Tensor
    """(n, h): hyper-latents, integers when they are sent."""
    priors: Tensor
    """(n, k): LLRs ln p(0)/p(1) of the bits, given the hyper-latents."""
    importance: Tensor
    """(n, k): logarithms of a factor of the bits' selection weights, given the hyper-latents."""
    features: Tensor
    """(n, width): features for the synthesis, given the hyper-latents."""


@dataclass(frozen=True)
class Transforms:
    """Multi-layer perceptrons with one hidden layer each, for images of any shape."""

    bits: Annotated[int, Interval(ge=1, le=100_000)] = 128
    """Binary latents of an image (k)."""
    hyper: Annotated[int, Ge(1)] = 8
    """Hyper-latents of an image."""
    width: Annotated[int, Ge(1)] = 128
    """Width of hidden layers."""
    max_llr: Annotated[float, Ge(1)] = 12.0
    """Limit of the magnitudes of proposals and priors, so that no bit is known for certain."""

    def initial(self, streams: Streams, pixels: int, dtype: torch.dtype) -> Parameters:
        """Initial parameters by name for images of so many numbers: weights uniform, biases zero."""
        return initial(streams, self._widths(pixels), dtype) | {
            "density.mean": torch.zeros(self.hyper, dtype=dtype),
            "density.scale": torch.zeros(self.hyper, dtype=dtype),
        }

    def _widths(self, pixels: int) -> dict[str, tuple[int, ...]]:
        return {
            "analysis": (pixels, self.width, self.bits),
            "hyper_analysis": (self.bits, self.width, self.hyper),
            "hyper_synthesis": (self.hyper, self.width, 2 * self.bits + self.width),
            "synthesis": (self.bits + self.width, self.width, pixels),
        }

    def analyse(self, parameters: Parameters, images: Tensor, u: Tensor | None = None) -> Latents:
        """Latents of images (n, ...). Hyper-latents are rounded; or, in training, uniform noise `u` - 1/2 is added.

        Args:
            parameters: parameters of the transforms.
            images: (n, ...), with numbers in [0, 1].
            u: (n, h): uniform numbers in [0, 1), or None.
        """
        llrs = self._limited(perceptron(parameters, "analysis", images.flatten(1) - 0.5))
        hyper = perceptron(parameters, "hyper_analysis", torch.tanh(llrs / 2))
        hyper = hyper.round().clamp(-31, 31) if u is None else hyper + u - 0.5
        return Latents(llrs, hyper, *self.side_information(parameters, hyper))

    def side_information(self, parameters: Parameters, hyper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Priors, importance and features, as in `Latents`, from hyper-latents (n, h): all that a receiver knows."""
        out = perceptron(parameters, "hyper_synthesis", hyper)
        priors, importance, features = torch.split(out, [self.bits, self.bits, self.width], -1)
        return self._limited(priors), torch.tanh(importance), torch.relu(features)

    def synthesise(self, parameters: Parameters, soft_bits: Tensor, features: Tensor) -> Tensor:
        """Images (n, pixels) with numbers in [0, 1] from soft bits (n, k) in [-1, 1], 1 being a certain 0."""
        return torch.sigmoid(perceptron(parameters, "synthesis", torch.cat([soft_bits, features], -1)))

    def hyper_bits(self, parameters: Parameters, hyper: Tensor) -> Tensor:
        """Ideal size in bits of hyper-latents (n, h), (n,): -log2 of a logistic density's mass in the unit interval."""
        offset, scale = hyper - parameters["density.mean"], parameters["density.scale"].exp()
        mass = torch.sigmoid((offset + 0.5) / scale) - torch.sigmoid((offset - 0.5) / scale)
        return -torch.log(mass.clamp(min=1e-9)).sum(-1) / log(2)

    def _limited(self, llrs: Tensor) -> Tensor:
        return self.max_llr * torch.tanh(llrs / self.max_llr)
