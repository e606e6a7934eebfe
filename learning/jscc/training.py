"""Training of the transforms, before the run: through the surrogate of the channel, then on the code itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Interval
from torch import Tensor
from torch.func import grad

from learning.data import Dataset
from learning.draws import Draw, standard_normal
from learning.executor import Executor
from learning.fountain.degrees import mean_degree
from learning.fountain.information import binary_input_capacity, divergence_bits
from learning.fountain.surrogate import surrogate_bits
from learning.jscc.autoencoder import Latents, Transforms
from learning.jscc.code import Code
from learning.jscc.images import Span, distortion, drawn, span_of, unit
from learning.jscc.perceptron import Parameters
from learning.optimisers import Adam, Optimiser
from learning.ports import Streams

Stage = Literal["transforms", "selection", "synthesis"]
TRAINED: dict[Stage, tuple[str, ...]] = {
    "transforms": ("analysis", "hyper_analysis", "hyper_synthesis", "synthesis", "density"),
    "selection": ("hyper_synthesis", "degrees"),
    "synthesis": ("synthesis",),
}
"""Stage -> the networks, and degrees of the code, that are trained in it."""


@dataclass(frozen=True)
class Training:
    """How the transforms are trained. Channels and numbers of symbols are drawn for each image."""

    steps: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)], Annotated[int, Ge(0)]] = (400, 100, 60)
    """Steps of the three stages: all transforms through the surrogate; side information, selection and degrees alone,
    likewise; synthesis alone, on soft bits of the code and its decoder."""
    batch_size: Annotated[int, Ge(1)] = 32
    """Images in a mini-batch."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(learning_rate=2e-3))
    """Optimiser, which begins anew in each stage."""
    snr_db: tuple[float, float] = (0.0, 8.0)
    """Range of the signal-to-noise ratio in dB."""
    symbols_per_bit: tuple[float, float] = (0.4, 3.0)
    """Range of the number of received symbols per bit."""
    iterations: Annotated[int, Ge(1)] = 5
    """Iterations of belief propagation."""
    rate_weight: Annotated[float, Ge(0)] = 2e-5
    """Weight of the rate, in channel symbols, against the mean squared error of a pixel."""
    complexity_weight: Annotated[float, Ge(0)] = 1e-6
    """Weight of the decoder's work, in edges of a bit times iterations, against the mean squared error of a pixel."""
    weakest_db: Annotated[float, Interval(gt=-30, le=200)] = 0.0
    """Signal-to-noise ratio in dB of the weakest receiver, for which the hyper-latents are coded."""


def draws_of(transforms: Transforms) -> int:
    """Uniform numbers of each image in a step, for the surrogate."""
    return 2 * transforms.bits + transforms.hyper + 2


def trained(
    executor: Executor,
    streams: Streams,
    dataset: Dataset,
    precision: torch.dtype,
    transforms: Transforms,
    code: Code,
    training: Training,
) -> Any:
    """Parameters of the transforms after training, as the result of deferred operations that nobody is charged.

    Images are drawn from the whole training set, with replacement.

    Args:
        executor: runs the operations.
        streams: the run's random streams.
        dataset: the data set, of one array of images.
        precision: number format of the parameters.
        transforms: the transforms.
        code: the code.
        training: the training.
    """
    assert isinstance(dataset.train.x, Tensor)
    initial = transforms.initial(streams, dataset.train.x[0].numel(), precision)
    initial |= code.initial(transforms.bits, precision)
    parameters: Any = initial
    for stage, steps in zip(TRAINED, training.steps, strict=True):
        state: Any = training.optimiser.init({name: value for name, value in initial.items() if trains(stage, name)})
        symbols = code.symbols(transforms.bits) if stage == "synthesis" else 0
        for first, shape, images in drawn(streams, dataset, steps, training.batch_size, stage):
            count, _ = shape
            parameters, state = executor.submit(
                train,
                transforms,
                code,
                training,
                stage,
                span_of(dataset.train.x),
                parameters,
                state,
                images,
                Draw(streams, "training channels", (stage, first), (*shape, draws_of(transforms))),
                Draw(streams, "training graphs", (stage, first), (count, symbols, transforms.bits + 2), torch.float64),
                Draw(streams, "training noise", (stage, first), (*shape, symbols)),
            )
    return parameters


def trains(stage: Stage, name: str) -> bool:
    """Whether a stage trains the parameter of this name."""
    return name.split(".")[0] in TRAINED[stage]


def train(
    transforms: Transforms,
    code: Code,
    training: Training,
    stage: Stage,
    span: Span,
    parameters: Parameters,
    state: Any,
    images: Tensor,
    u: Tensor,
    u_graph: Tensor,
    u_noise: Tensor,
) -> tuple[Parameters, Any]:
    """Steps of one stage; returns the new parameters, and the state of the optimiser for those that it trains.

    Args:
        transforms: the transforms.
        code: the code.
        training: the training.
        stage: the stage.
        span: values of black and white.
        parameters: parameters of the transforms.
        state: state of the optimiser.
        images: (steps, n, ...).
        u: (steps, n, `draws_of`): uniform numbers in [0, 1).
        u_graph: (steps, m, k + 2): draws of the code's graph in the third stage; of no symbols before.
        u_noise: (steps, n, m): uniform numbers in [0, 1) for the noise in the third stage.
    """
    trained = {name: value for name, value in parameters.items() if trains(stage, name)}
    loss = coded_loss if stage == "synthesis" else surrogate_loss
    for each in zip(unit(images, span), u, u_graph, u_noise, strict=True):

        def of(some: Parameters, each: tuple[Tensor, ...] = each) -> Tensor:
            return loss(transforms, code, training, {**parameters, **some}, *each)

        trained, state = training.optimiser.step(trained, grad(of)(trained), state)
    return {**parameters, **trained}, state


def surrogate_loss(
    transforms: Transforms,
    code: Code,
    training: Training,
    parameters: Parameters,
    images: Tensor,
    u: Tensor,
    *_: Tensor,
) -> Tensor:
    """Distortion, rate and decoder's work of images (n, ...), where density evolution stands for channel and code."""
    k = transforms.bits
    of_bits, of_noise, of_hyper, of_channel = torch.split(u, [k, k, transforms.hyper, 2], -1)
    latents = transforms.analyse(parameters, images, of_hyper)
    q = torch.sigmoid(-latents.llrs)
    v = (of_bits < q).to(q.dtype)
    signs = 1 - 2 * (v + q - q.detach())  # straight through
    snr, symbols = _channels(training, of_channel)
    priors, degrees = code.priors(latents), code.degrees(k, parameters)
    soft = surrogate_bits(
        signs,
        torch.sigmoid(-priors),
        code.log_weights(latents).exp(),
        degrees,
        symbols,
        snr,
        training.iterations,
        standard_normal(of_noise),
    )
    received = transforms.synthesise(parameters, soft, latents.features)
    rate = divergence_bits(q, torch.sigmoid(-latents.priors)).sum(-1) / binary_input_capacity(snr.double())
    weakest = binary_input_capacity(torch.tensor(10 ** (training.weakest_db / 10), dtype=torch.float64))
    rate = rate + transforms.hyper_bits(parameters, latents.hyper) / weakest
    work = training.iterations * symbols.mean() * mean_degree(degrees)
    cost = training.rate_weight * rate.mean() + training.complexity_weight * work
    return distortion(images, received) + cost.to(received.dtype)


def coded_loss(
    transforms: Transforms,
    code: Code,
    training: Training,
    parameters: Parameters,
    images: Tensor,
    u: Tensor,
    u_graph: Tensor,
    u_noise: Tensor,
) -> Tensor:
    """Distortion of images (n, ...) that are synthesised from soft bits of the code; these have no gradient."""
    latents = Latents(*(each.detach() for each in transforms.analyse(parameters, images)))
    snr, symbols = _channels(training, u[:1, -2:])
    heard = torch.arange(u_graph.shape[0]) < symbols * transforms.bits
    bits = (latents.llrs < 0).long()
    degrees = code.degrees(transforms.bits, parameters)
    noise = standard_normal(u_noise)
    llrs = code.transmit(latents, degrees, bits, u_graph, noise, snr * heard, training.iterations).llrs
    soft = torch.tanh(llrs / 2).to(images.dtype)
    return distortion(images, transforms.synthesise(parameters, soft, latents.features))


def _channels(training: Training, u: Tensor) -> tuple[Tensor, Tensor]:
    """Signal-to-noise ratios as plain ratios, and symbols per bit, from uniform numbers (n, 2)."""
    (low_db, high_db), (fewest, most) = training.snr_db, training.symbols_per_bit
    return 10 ** ((low_db + (high_db - low_db) * u[:, 0]) / 10), fewest + (most - fewest) * u[:, 1]
