"""Operations of detection by uncertainty: features of a window, the server's answer to it, and steps of training."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import grad

from learning.data.modalities import Modalities
from learning.models import Multimodal, Segment
from learning.models.towers import own
from learning.models.uncertainty.architecture import stages
from learning.models.uncertainty.recovery import Completed
from learning.optimisers import Optimiser
from learning.schemes.dual_health.losses import Example, Losses, first_stage, whole_loss
from learning.steps import Parameters, Part

Features = dict[str, Tensor]
"""Modality -> features: (1, d) of a window, or (1, windows, d) of those before, the oldest first."""


def latest(x: Tensor) -> Tensor:
    """The present window (1, 1, ...) of samples (1, windows, ...)."""
    return x[:, -1:]


def encode(tower: Part, parameters: Parameters, window: Tensor) -> Tensor:
    """Features (1, d) of a window (1, 1, ...)."""
    features: Tensor = tower(parameters, window)
    return features[:, 0]


def answer(
    fusion: Segment, parameters: Parameters, arrived: Features, before: Features
) -> tuple[Tensor, Tensor, Tensor, Features]:
    """The class of a sample by the modalities that have arrived, of which there is at least one.

    Args:
        fusion: the fusion network.
        parameters: its parameters.
        arrived: features of the present window, of the modalities that have arrived.
        before: features of the windows before, of all modalities in the order of the network.

    Returns:
        Logits (1, classes), the most likely class (1,), the uncertainty of each modality (1, M), and the features of
        the windows before the next one, in which recovered features stand for those that have not arrived.
    """
    some = next(iter(arrived.values()))
    absent = torch.zeros(1, dtype=torch.bool, device=some.device)
    present = {name: ~absent if name in arrived else absent for name in before}
    now = {name: arrived.get(name, torch.zeros_like(some)) for name in before}
    windows = {name: torch.cat([earlier, now[name][:, None]], 1) for name, earlier in before.items()}
    estimate, judge, recover, fuse = stages(fusion)
    known = judge(own(judge, parameters), estimate(own(estimate, parameters), Modalities(windows, present)))
    completed: Completed = recover(own(recover, parameters), known)
    logits: Tensor = fuse(own(fuse, parameters), completed)
    latent = dict(zip(before, completed.latent.unbind(1), strict=True))
    following = {name: torch.cat([earlier[:, 1:], latent[name][:, None]], 1) for name, earlier in before.items()}
    return logits, logits.argmax(-1), completed.uncertainty, following


def by_prior(parameters: Parameters, name: str) -> tuple[Tensor, Tensor]:
    """Logits (1, classes) and the most likely class (1,) of a sample of which nothing has arrived.

    `name` is that of the parameter with the logits of the prior.
    """
    logits = parameters[name][None]
    return logits, logits.argmax(-1)


def train(
    model: Multimodal,
    optimiser: Optimiser,
    losses: Losses,
    joint: bool,
    parameters: Parameters,
    state: Any,
    example: tuple[Modalities, Tensor, Tensor],
    y: Tensor,
) -> tuple[Parameters, Any]:
    """One step on a mini-batch of the whole model (`joint`), or without fusion; returns new parameters and state."""
    loss_of = partial(whole_loss if joint else first_stage, model, losses)
    gradients = grad(loss_of)(parameters, Example(*example), y)
    return optimiser.step(parameters, gradients, state)
