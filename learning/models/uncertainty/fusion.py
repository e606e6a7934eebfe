"""Fusion of the modalities of a sample by weights that fall with their uncertainty."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from learning.models.constant import Constant
from learning.models.uncertainty.recovery import Completed
from learning.models.vit import ClassToken, Position

EXPANSION = 4
"""Width of the hidden layer of a feed-forward part, in multiples of the width of a token."""


class Fused(NamedTuple):
    """One vector of features for each of b samples."""

    features: Tensor
    """Features (b, d)."""
    empty: Tensor
    """Which samples have no modality at all, so that their features mean nothing, bool (b,)."""


def log_weights(uncertainty: Tensor, usable: Tensor, temperature: float) -> Tensor:
    """Logarithms of the fusion weights (b, M): a softmax of minus the uncertainty over the usable modalities.

    Args:
        uncertainty: uncertainty of each modality, (b, M).
        usable: which modalities are to be fused, bool (b, M); the weight of others is exactly 0. Where none is, all
            weights are equal, so that they are finite.
        temperature: divides the uncertainty; the weights of a large one are nearly equal.
    """
    usable = usable | ~usable.any(-1, keepdim=True)
    score = torch.where(usable, -uncertainty / temperature, torch.full_like(uncertainty, -torch.inf))
    return torch.log_softmax(score, -1)


class Transformer(nn.Module):
    """Transformer on one token for each modality, whose attention is multiplied by the fusion weights.

    The logarithms of the weights are added to the scores of the modalities' keys. The class token, which is read in the
    end, asks and is no key: with equal scores its attention is the weighted mean of the values, and a modality of
    weight 0 has no influence at all.
    """

    def __init__(self, modalities: int, width: int, depth: int, heads: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.first = ClassToken(width)
        self.position = Position(modalities + 1, width)
        self.layers = nn.ModuleList([WeightedLayer(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Completed) -> Fused:
        bias = log_weights(x.uncertainty, x.usable, self.temperature)
        tokens = self.position(self.first(x.latent))
        for layer in self.layers:
            tokens = layer(tokens, bias)
        return Fused(self.norm(tokens[:, 0]), ~x.usable.any(-1))


class WeightedLayer(nn.Module):
    """Pre-norm transformer layer with a bias on the keys of all tokens but the first, which is no key."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attend = WeightedAttention(width, heads)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, EXPANSION * width), nn.GELU(), nn.Linear(EXPANSION * width, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attend(self.before(x), bias)
        fed: Tensor = x + self.feed(self.between(x))
        return fed


class WeightedAttention(nn.Module):
    """Multi-head attention of all tokens to all but the first, with a bias on the keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.outward = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map tokens (b, 1 + keys, width) and the bias of keys (b, keys) to (b, 1 + keys, width)."""
        q, k, v = (self._apart(each) for each in (self.query(x), self.key(x[:, 1:]), self.value(x[:, 1:])))
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 + bias[:, None, None]
        mixed: Tensor = self.outward((torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2))
        return mixed

    def _apart(self, x: Tensor) -> Tensor:
        """Tokens (b, tokens, width) as (b, heads, tokens, width / heads)."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class WeightedMean(nn.Module):
    """Late fusion: the mean of the modalities' features by fusion weights."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, x: Completed) -> Fused:
        weights = log_weights(x.uncertainty, x.usable, self.temperature).exp()
        return Fused((weights[..., None] * x.latent).sum(1), ~x.usable.any(-1))


class Concatenation(nn.Module):
    """Early fusion: a linear layer with ReLU on the features of all modalities side by side, zero where unusable."""

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Linear(modalities * width, width), nn.ReLU())

    def forward(self, x: Completed) -> Fused:
        latent = torch.where(x.usable[..., None], x.latent, torch.zeros_like(x.latent))
        return Fused(self.mix(latent.flatten(1)), ~x.usable.any(-1))


class Readout(nn.Module):
    """Linear classifier; for samples without any modality the logarithms of the prior, whose logits are parameters."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(width, classes)
        self.prior = Constant(classes)

    def forward(self, x: Fused) -> Tensor:
        """Map features to logits (b, classes)."""
        logits = self.classify(x.features)
        return torch.where(x.empty[:, None], self.prior.value.expand_as(logits), logits)
