"""Transforms between images and amplitudes of uncoded symbols, and their training through a channel with noise.

[Bourtsoulatze, Kurka, Gündüz, Deep Joint Source-Channel Coding for Wireless Image Transmission, IEEE TCCN 5(3), 2019]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import Annotated, Any

import torch
from annotated_types import Ge, Interval
from torch import Tensor
from torch.func import grad

from learning.data import Dataset
from learning.draws import Draw, standard_normal
from learning.executor import Executor
from learning.jscc.images import Span, distortion, drawn, span_of, unit
from learning.jscc.perceptron import Parameters, initial, perceptron
from learning.optimisers import Adam, Optimiser
from learning.ports import Streams


@dataclass(frozen=True)
class Amplitudes:
    """Perceptrons with one hidden layer each, for images of any shape."""

    symbols: Annotated[int, Interval(ge=1, le=100_000)] = 128
    """Real symbols of an image."""
    width: Annotated[int, Ge(1)] = 128
    """Width of hidden layers."""

    def initial(self, streams: Streams, pixels: int, dtype: torch.dtype) -> Parameters:
        """Initial parameters by name for images of so many numbers: weights uniform, biases zero."""
        widths = {
            "amplitudes": (pixels, self.width, self.symbols),
            "image": (self.symbols, self.width, pixels),
        }
        return initial(streams, widths, dtype)

    def modulate(self, parameters: Parameters, images: Tensor) -> Tensor:
        """Symbols (n, m) of images (n, ...) with numbers in [0, 1]; those of each image have a mean power of 1."""
        symbols = perceptron(parameters, "amplitudes", images.flatten(1) - 0.5)
        length: Tensor = symbols.norm(dim=-1, keepdim=True)
        return symbols * (sqrt(self.symbols) / length.clamp(min=1e-9))

    def synthesise(self, parameters: Parameters, received: Tensor) -> Tensor:
        """Images (n, pixels) with numbers in [0, 1] from received symbols (n, m)."""
        return torch.sigmoid(perceptron(parameters, "image", received))


@dataclass(frozen=True)
class AmplitudeTraining:
    """How the transforms are trained. The channel is drawn for each image."""

    steps: Annotated[int, Ge(0)] = 500
    """Training steps."""
    batch_size: Annotated[int, Ge(1)] = 32
    """Images in a mini-batch."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(learning_rate=2e-3))
    """Optimiser."""
    snr_db: tuple[float, float] = (0.0, 8.0)
    """Range of the signal-to-noise ratio in dB."""

    def __post_init__(self) -> None:
        if self.snr_db[0] > self.snr_db[1]:
            raise ValueError(f"snr_db is a range from low to high, not {self.snr_db[0]} to {self.snr_db[1]}")


def noisy(symbols: Tensor, noise: Tensor, snr: Tensor) -> Tensor:
    """What a receiver hears of symbols of unit power: s + n / sqrt(snr), and 0 of those that it does not hear.

    Args:
        symbols: (n, m).
        noise: (n, m): standard normal numbers.
        snr: plain ratios that can be broadcast to (n, m); 0 is not heard.
    """
    heard = snr > 0
    return torch.where(heard, symbols + noise * torch.where(heard, snr, 1.0).rsqrt(), 0.0).to(symbols.dtype)


def trained(
    executor: Executor,
    streams: Streams,
    dataset: Dataset,
    precision: torch.dtype,
    transforms: Amplitudes,
    training: AmplitudeTraining,
) -> Any:
    """Parameters of the transforms after training, as the result of deferred operations that nobody is charged.

    Images are drawn from the whole training set, with replacement. Arguments as in `learning.jscc.training.trained`.
    """
    assert isinstance(dataset.train.x, Tensor)
    parameters: Any = transforms.initial(streams, dataset.train.x[0].numel(), precision)
    state: Any = training.optimiser.init(parameters)
    for first, shape, images in drawn(streams, dataset, training.steps, training.batch_size):
        parameters, state = executor.submit(
            train_amplitudes,
            transforms,
            training,
            span_of(dataset.train.x),
            parameters,
            state,
            images,
            Draw(streams, "training channels", (first,), (*shape, 1)),
            Draw(streams, "training noise", (first,), (*shape, transforms.symbols)),
        )
    return parameters


def train_amplitudes(
    transforms: Amplitudes,
    training: AmplitudeTraining,
    span: Span,
    parameters: Parameters,
    state: Any,
    images: Tensor,
    u: Tensor,
    u_noise: Tensor,
) -> tuple[Parameters, Any]:
    """Training steps; returns the new parameters, and the state of the optimiser.

    Args:
        transforms: the transforms.
        training: the training.
        span: values of black and white.
        parameters: parameters of the transforms.
        state: state of the optimiser.
        images: (steps, n, ...).
        u: (steps, n, 1): uniform numbers in [0, 1), of which the signal-to-noise ratios are made.
        u_noise: (steps, n, m): uniform numbers in [0, 1), of which the noise is made.
    """
    low_db, high_db = training.snr_db
    for x, of_channel, of_noise in zip(unit(images, span), u, u_noise, strict=True):
        snr = 10 ** ((low_db + (high_db - low_db) * of_channel) / 10)
        noise = standard_normal(of_noise)

        def loss(some: Parameters, x: Tensor = x, noise: Tensor = noise, snr: Tensor = snr) -> Tensor:
            return distortion(x, transforms.synthesise(some, noisy(transforms.modulate(some, x), noise, snr)))

        parameters, state = training.optimiser.step(parameters, grad(loss)(parameters), state)
    return parameters, state


def analyse(transforms: Amplitudes, parameters: Parameters, images: Tensor, span: Span) -> Tensor:
    """Symbols (n, m) of images (n, ...)."""
    return transforms.modulate(parameters, unit(images, span))


def receive(transforms: Amplitudes, parameters: Parameters, symbols: Tensor, u_noise: Tensor, snr: Tensor) -> Tensor:
    """Synthesis of n images at one receiver: images (n, pixels).

    Args:
        transforms: the transforms.
        parameters: parameters of the transforms.
        symbols: (n, m): what is sent.
        u_noise: (n, m): uniform numbers in [0, 1), of which the receiver's noise is made.
        snr: (m,): signal-to-noise ratio of each symbol, 0 where it is not heard.
    """
    return transforms.synthesise(parameters, noisy(symbols, standard_normal(u_noise), snr))
