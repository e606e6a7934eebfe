"""Operations on tokens: those of a user, and the gradients of the two stages at the base station."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from learning import steps
from learning.contrastive import contrastive
from learning.data.modalities import Modalities
from learning.models.towers import Towers
from learning.steps import Parameters, Part

Tokens = dict[str, Tensor]
"""Modality -> tokens, (samples, tokens, width)."""


def tokens(towers: Towers, parameters: Parameters, x: Modalities) -> Tokens:
    """The tokens that a user sends of its modalities of samples `x`."""
    sent: Tokens = towers(parameters, x).values
    return sent


def task_gradients(
    fusion: Part, parameters: Parameters, received: list[Tokens], present: dict[str, Tensor], y: Tensor
) -> tuple[Parameters, Tokens, Tensor]:
    """Gradients of the mean cross-entropy of the answers, with respect to parameters and tokens, and the loss.

    Args:
        fusion: the foundation model behind its receivers.
        parameters: its parameters.
        received: tokens of the users of a team.
        present: which samples have a modality, by modality.
        y: answers, (samples,).
    """
    return steps.back_gradients(fusion, parameters, Modalities(steps.merge(*received), present), y)


def answers(
    fusion: Part, parameters: Parameters, received: list[Tokens], present: dict[str, Tensor], y: Tensor
) -> tuple[Tensor, Tensor]:
    """Number of correct answers to a team's requests, and the sum of their losses; arguments as in `task_gradients`."""
    return steps.evaluate(fusion, parameters, Modalities(steps.merge(*received), present), y)


def alignment_gradients(
    receivers: Part,
    table: Part,
    anchor: str,
    summaries: tuple[tuple[str, int | None], ...],
    temperature: float,
    reconstruction: float,
    parameters: Parameters,
    frozen: Parameters,
    received: list[Tokens],
    x: Modalities,
) -> tuple[Parameters, Tokens, Tensor]:
    """Gradients of the alignment loss with respect to parameters and tokens, and the loss.

    Args:
        receivers: the receivers, which return the tokens of all modalities one after another.
        table: the anchor's tower, by which the base station computes the tokens as they were sent.
        anchor: the modality to which the others are aligned.
        summaries: each modality, in the order of the model, and the number of its first tokens whose mean is its
            feature; None is all.
        temperature: temperature of the contrastive loss.
        reconstruction: weight of the reconstruction of the anchor's tokens.
        parameters: parameters of the receivers.
        frozen: parameters of the anchor's tower.
        received: tokens of the users of a team, those of the anchor among them.
        x: samples of the anchor, and presence masks.
    """
    sent = steps.merge(*received)
    clean = table(frozen, x.values[anchor])

    def loss_of(parameters: Parameters, sent: Tokens) -> Tensor:
        heard = apart(receivers(parameters, Modalities(sent, x.present)), sent, dict(summaries))
        features = {name: feature(heard[name], count) for name, count in summaries if name in heard}
        loss = reconstruction * F.mse_loss(heard[anchor], clean)
        others = [each for name, each in features.items() if name != anchor]
        return loss + sum(contrastive(each, features[anchor], temperature) for each in others)

    loss, pull = steps.pullback(loss_of, parameters, sent)
    gradients, dz = pull(torch.ones_like(loss))
    return gradients, dz, loss


def apart(sequence: Tensor, sent: Tokens, order: dict[str, Any]) -> Tokens:
    """The tokens of each modality, out of those of all of them one after another.

    `sent` has them by modality, and `order` the modalities in the order of the sequence.
    """
    here = [name for name in order if name in sent]
    parts = torch.split(sequence, [sent[name].shape[1] for name in here], dim=1)
    return dict(zip(here, parts, strict=True))


def feature(tokens: Tensor, count: int | None) -> Tensor:
    """The feature (samples, width) of a modality, normalised: the mean of its first `count` tokens, or of all."""
    return F.normalize(tokens[:, :count].mean(1), dim=1)
