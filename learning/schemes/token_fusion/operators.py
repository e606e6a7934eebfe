"""Operations of token transmission: losses at other lengths, and the figures of a request."""

from __future__ import annotations

import torch
from torch import Tensor

from learning import steps
from learning.data.modalities import Modalities
from learning.protocols.token_stages.operators import Tokens
from learning.reducers import TokenReducer
from learning.steps import Parameters, Part


def shortened_loss(
    fusion: Part,
    reducers: tuple[tuple[str, TokenReducer], ...],
    parameters: Parameters,
    received: list[Tokens],
    present: dict[str, Tensor],
    y: Tensor,
) -> Tensor:
    """Mean loss of the answers, if users had sent fewer tokens than they have.

    A rule on positions, and the device's linear map of each token, give the same in either order.

    Args:
        fusion: the foundation model behind its receivers.
        reducers: modalities of which fewer tokens are read, and the rules by which they are reduced.
        parameters: parameters of the foundation model.
        received: all tokens of the users of a team.
        present: which samples have a modality, by modality.
        y: answers, (samples,).
    """
    tokens = steps.merge(*received)
    shortened = {name: reducer(tokens[name], None, None) for name, reducer in reducers}
    return steps.mean_loss(fusion(parameters, Modalities({**tokens, **shortened}, present)), y)


def request_figures(
    latency_s: Tensor,
    second_weight: Tensor,
    loss_weight: Tensor,
    correct: list[Tensor],
    losses: list[Tensor],
    samples: int,
) -> dict[str, Tensor]:
    """Latency, mean loss and accuracy of the requests of a round, and the weighted sum of the first two.

    Args:
        latency_s: latency in seconds, a scalar.
        second_weight: weight of a second, a scalar.
        loss_weight: weight of the loss, a scalar.
        correct: number of correct answers of each team.
        losses: sum of the losses of each team.
        samples: samples of all teams.
    """
    loss = torch.stack(losses).sum() / samples
    return {
        "request_latency_s": latency_s,
        "request_loss": loss,
        "request_accuracy": torch.stack(correct).sum() / samples,
        "weighted_sum": second_weight * latency_s + loss_weight * loss,
    }
