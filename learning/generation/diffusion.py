"""A denoising diffusion model: a U-Net learns to predict noise, and makes images of noise step by step.

[Ho, Jain and Abbeel, NeurIPS 2020 (DDPM); Song, Meng and Ermon, ICLR 2021 (DDIM)]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Interval, MinLen
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad

from learning.data import Batches
from learning.data.public import PublicData
from learning.draws import Draw, standard_normal
from learning.executor import Executor
from learning.executor.shape_run import ShapeRun, shape_run, with_closed_form
from learning.generation.generator import Sampling
from learning.generation.unet import UNet, library
from learning.optimisers import Adam, Optimiser
from learning.ports import Streams
from learning.steps import Parameters, Weights

NOISE_LEVELS = 1000
"""Noise levels of the training."""
SCHEDULE = "squaredcos_cap_v2"
"""Law of the noise levels: the cosine of Nichol and Dhariwal, ICML 2021."""
STEPS_TOGETHER = 5
"""Training steps that are submitted as one operation."""


@dataclass(frozen=True)
class Diffusion:
    """A class-conditional diffusion model with a U-Net of diffusers. Needs the extra netsim-learning[diffusion]."""

    steps: Annotated[int, Interval(ge=1, le=NOISE_LEVELS)] = 20
    """Denoising steps of an image, each a forward pass of the U-Net."""
    eta: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """Noise that is added in a denoising step: 0 is none (DDIM), 1 is that of ancestral sampling (DDPM)."""
    channels: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (16, 32)
    """Channels of each level of the U-Net; from one level to the next the sides of an image are halved."""
    layers: Annotated[int, Ge(1)] = 1
    """Residual blocks of a level."""
    training_steps: Annotated[int, Ge(1)] = 1000
    """Number of training steps, each on one mini-batch of public samples."""
    batch_size: Annotated[int, Ge(1)] = 32
    """Samples in a mini-batch of the training."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(2e-3))
    """Optimiser of the training."""
    flops_per_sample: Annotated[int, Ge(0)] | None = None
    """FLOPs that are charged for an image, such as those of a large model (default: those of its denoising steps)."""

    def check(self, public: PublicData) -> None:
        """Raise ValueError where diffusers is missing, images cannot be halved, or a class has no public sample."""
        public.rows_by_class()
        self._network(public)

    def train(self, public: PublicData, executor: Executor, precision: torch.dtype) -> DiffusionSampler:
        """As in `Generator`; the training is a chain of deferred operations, which the result cache may have."""
        images = public.dataset.train.x
        assert isinstance(images, Tensor)
        own = images[torch.from_numpy(public.indices)]
        bounds = float(own.min()), float(own.max())
        network = self._network(public)
        parameters: Weights = network.initial(public.streams, precision)
        if executor.computes:
            parameters = self._trained(network, bounds, parameters, public, executor, precision)
        return DiffusionSampler(self, network, bounds, precision, parameters)

    def _network(self, public: PublicData) -> UNet:
        dataset, version = public.dataset, str(library().__version__)
        return UNet(dataset.input_shape, dataset.classes, self.channels, self.layers, version)

    def _trained(
        self,
        network: UNet,
        bounds: tuple[float, float],
        parameters: Any,
        public: PublicData,
        executor: Executor,
        precision: torch.dtype,
    ) -> Weights:
        batches = Batches(public.dataset, public.indices, "generator", public.streams, self.batch_size, "wrap")
        state: Any = self.optimiser.init(parameters)
        for start in range(0, self.training_steps, STEPS_TOGETHER):
            (x,), (y,) = batches.stack(range(start, min(start + STEPS_TOGETHER, self.training_steps)))
            count = tuple(y.meta.shape)
            levels = Draw(public.streams, "noise level", (start,), count, precision)
            noise = Draw(public.streams, "noise", (start,), (*count, *network.shape), precision)
            work = (learn_noise, network, self.optimiser, bounds, parameters, state, x, y, levels, noise)
            parameters, state = executor.submit(*work)
        trained: Weights = parameters
        return trained


class DiffusionSampler(NamedTuple):
    """A trained diffusion model."""

    described: Diffusion
    network: UNet
    bounds: tuple[float, float]
    """Smallest and largest pixel of the public samples."""
    precision: torch.dtype
    parameters: Weights

    def sampling(self, labels: NDArray[np.int64], streams: Streams, *entity: int | str) -> Sampling:
        """As in `Sampler`."""
        own = self.described
        draws = 1 + (own.steps if own.eta else 0)
        u = Draw(streams, "generated", entity, (draws, len(labels), *self.network.shape), self.precision)
        given = self.network, own.steps, own.eta, own.flops_per_sample, self.bounds
        return denoised, *given, self.parameters, torch.from_numpy(labels), u


def _shapes_of_learning(
    network: UNet,
    optimiser: Optimiser,
    bounds: tuple[float, float],
    parameters: Parameters,
    state: Any,
    *data: Tensor,
) -> ShapeRun:
    """`learn_noise` in closed form: it returns what it is given, and is not charged, as it precedes simulated time."""
    return ShapeRun((parameters, state), flops=0, memory_bytes=0, alone=True, thin=False)


@with_closed_form(_shapes_of_learning)
def learn_noise(
    network: UNet,
    optimiser: Optimiser,
    bounds: tuple[float, float],
    parameters: Parameters,
    state: Any,
    xs: Tensor,
    ys: Tensor,
    levels: Tensor,
    noise: Tensor,
) -> tuple[Parameters, Any]:
    """Training steps of a noise predictor: gradients of |e - network(sqrt(a) x + sqrt(1 - a) e)|^2 at random levels.

    Args:
        network: the U-Net.
        optimiser: the optimiser.
        bounds: smallest and largest pixel, which are mapped to -1 and 1.
        parameters: parameters of the network.
        state: state of the optimiser.
        xs: images, (count, size, *shape); there is a step for each of the `count` mini-batches.
        ys: their classes, (count, size).
        levels: uniform numbers in [0, 1), (count, size), of which noise levels are made.
        noise: uniform numbers in [0, 1), (count, size, *shape), of which the noise e is made.
    """

    def loss(parameters: Parameters, x: Tensor, y: Tensor, level: Tensor, e: Tensor) -> Tensor:
        kept = signal_shares().to(level.device, e.dtype)[level][:, None, None, None]
        found = network(parameters, kept.sqrt() * x + (1 - kept).sqrt() * e, level, y)
        return (found - e).square().mean()

    low, high = bounds
    for x, y, u, v in zip(xs, ys, levels, noise, strict=True):
        data = 2 * (x - low) / (high - low) - 1, y, (u * NOISE_LEVELS).long(), standard_normal(v)
        parameters, state = optimiser.step(parameters, grad(loss)(parameters, *data), state)
    return parameters, state


def _cost_of_denoising(
    network: UNet,
    steps: int,
    eta: float,
    flops_per_sample: int | None,
    bounds: tuple[float, float],
    parameters: Parameters,
    labels: Tensor,
    u: Tensor,
) -> ShapeRun:
    """`denoised` in closed form: `steps` times one forward pass of the U-Net, whose memory it takes."""
    x = torch.empty(len(labels), *network.shape, dtype=u.dtype, device="meta")
    one = shape_run(network, (parameters, x, 0, labels))
    flops = steps * one.flops if flops_per_sample is None else flops_per_sample * len(labels)
    return ShapeRun(x, flops, one.memory_bytes, one.alone, one.thin)


@with_closed_form(_cost_of_denoising)
def denoised(
    network: UNet,
    steps: int,
    eta: float,
    flops_per_sample: int | None,
    bounds: tuple[float, float],
    parameters: Parameters,
    labels: Tensor,
    u: Tensor,
) -> Tensor:
    """Make images (n, *shape) of noise.

    Args:
        network: the U-Net.
        steps: number of denoising steps.
        eta: noise that is added in each, 0 to 1.
        flops_per_sample: FLOPs that are charged for an image; None for those of its denoising steps.
        bounds: smallest and largest pixel.
        parameters: parameters of the network.
        labels: classes, (n,).
        u: uniform numbers in [0, 1), (draws, n, *shape): of the first noise, and with eta of that of each step.
    """
    scheduler = library().DDIMScheduler(num_train_timesteps=NOISE_LEVELS, beta_schedule=SCHEDULE)
    scheduler.set_timesteps(steps)
    x = standard_normal(u[0])
    for number, level in enumerate(scheduler.timesteps.tolist(), 1):
        added = standard_normal(u[number]) if eta else None
        noise = network(parameters, x, level, labels)
        x = scheduler.step(noise, level, x, eta=eta, variance_noise=added).prev_sample
    low, high = bounds
    return ((x + 1) / 2 * (high - low) + low).clamp(low, high)


@cache
def signal_shares() -> Tensor:
    """Share of the signal in the variance of an image, by noise level, (NOISE_LEVELS,), float32."""
    shares: Tensor = library().DDPMScheduler(num_train_timesteps=NOISE_LEVELS, beta_schedule=SCHEDULE).alphas_cumprod
    return shares
