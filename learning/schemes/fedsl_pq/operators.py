"""What FedSL-PQ computes on a device: pruned forward pass, quantised masked update, pruning."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learning.codecs import Codec
from learning.executor.flops import uncharged
from learning.models import Segment
from learning.optimisers import Optimiser
from learning.reducers.dropout import Dropout
from learning.reducers.pruning import Pruning, masked
from learning.steps import pullback

Parameters = dict[str, Tensor]


def pruned(pruning: Pruning, gradients: Any, rate: float, weights: Parameters) -> tuple[Parameters, Parameters]:
    """Mask a model by the importance of its weights: the weights kept (others zero), and the mask."""
    mask = pruning.mask(weights, pruning.scores(weights, gradients), rate)
    return masked(weights, mask), mask


def front(segment: Segment, dropout: Dropout, weights: Parameters, x: Tensor, u: Tensor | None) -> Tensor:
    """Smashed data with dropped activations at zero; `u` are the draws that decide, None without dropout."""
    z = segment(weights, x)
    return z if u is None else dropout.apply(z, dropout.mask(u))


def cut_gradient(dropout: Dropout, codec: Codec, dz: Tensor, u: Tensor | None, noise: Tensor) -> Tensor:
    """The quantised cut-layer gradient, of which only the kept positions are sent.

    The range of the quantiser is that of the kept positions: the dropped ones stand in with a kept value's mean.
    """
    if u is None:
        return codec.roundtrip(dz, noise)
    keep = dropout.mask(u).expand_as(dz)
    inside = (dz * keep).sum() / keep.sum().clamp(min=1)
    return torch.where(keep, codec.roundtrip(torch.where(keep, dz, inside), noise), 0)


def update(
    segment: Segment,
    dropout: Dropout,
    optimiser: Optimiser,
    codec: Codec,
    weights: Parameters,
    state: Any,
    mask: Parameters,
    x: Tensor,
    dz: Tensor,
    u: Tensor | None,
    noise: dict[str, Tensor] | None,
) -> tuple[Parameters, Any, Parameters]:
    """Masked update with quantised gradients: w - gamma m Q(m g); also g itself, for the next importance scores.

    A pruned weight has a gradient too; with the masked one in its place, its importance |w g| would always be zero.
    Dropout is part of the function pulled back through, so gradients of dropped activations vanish and the others are
    scaled once in each direction.
    """
    with uncharged():
        _, pull = pullback(lambda weights: front(segment, dropout, weights, x, u), weights)
    (gradients,) = pull(dz)
    coarse = masked(gradients, mask)
    if noise is not None:
        coarse = masked({name: codec.roundtrip(g, noise[name]) for name, g in coarse.items()}, mask)
    weights, state = optimiser.step(weights, coarse, state)
    return masked(weights, mask), state, gradients
