"""Pruning by masks: which weights are set to zero. A scheme can compute new masks, so that weights regrow."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Interval
from torch import Tensor

Tree = dict[str, Tensor]


def prunable(name: str, tensor: Tensor) -> bool:
    """Whether a parameter may be pruned: the weights of linear layers and convolutions, never biases, norms, positions.

    Args:
        name: name of the parameter in the whole model, such as "1.attention.query.weight".
        tensor: the parameter, or a meta tensor of its shape.
    """
    return name.endswith(".weight") and tensor.dim() > 1 and not name.endswith("position.weight")


@dataclass(frozen=True)
class Pruning:
    """Sets the least important weights to zero, or the least important output channels of each layer."""

    importance: Literal["magnitude", "taylor"] = "magnitude"
    """Importance of a weight: |w|, or |w g| with the last gradient g (first-order Taylor, arXiv 1906.10771)."""

    granularity: Literal["weight", "channel"] = "weight"
    """What is pruned: the least important weights of all layers together; or the same share of the output channels of
    every layer."""

    def scores(self, params: Tree, grads: Tree | None = None) -> Tree:
        """Importance of every entry of every parameter, by name and in the shapes of `params`.

        Args:
            params: parameters by name.
            grads: their last gradients, by the same names; needed by the importance `taylor` alone.

        Raises:
            ValueError: the importance is `taylor`, and there are no gradients.
        """
        if self.importance == "magnitude":
            return {name: value.abs() for name, value in params.items()}
        if grads is None:
            raise ValueError("importance 'taylor' needs the last gradients")
        return {name: (value * grads[name]).abs() for name, value in params.items()}

    def mask(self, params: Tree, scores: Tree, rate: float) -> Tree:
        """Which entries are kept: boolean tensors by name, of which exactly `removed(params, rate)` entries are false.

        Of entries with equal scores the first ones are removed.

        Args:
            params: parameters by name.
            scores: importance of their entries, as `scores` returns it.
            rate: share of the prunable weights, or of each layer's channels, that is removed.

        Raises:
            ValueError: the rate is not in [0, 1).
        """
        decide = _weights_kept if self.granularity == "weight" else _channels_kept
        masks = {name: torch.ones_like(value, dtype=torch.bool) for name, value in params.items()}
        chosen = {name: scores[name] for name, value in params.items() if prunable(name, value)}
        return masks | decide(chosen, _share(rate)) if chosen else masks

    def removed(self, params: Tree, rate: float) -> int:
        """How many entries a mask of that rate removes; known from shapes alone.

        floor(rate * prunable weights), or the sum over layers of floor(rate * channels) times the weights of a channel.

        Args:
            params: parameters by name, or meta tensors of their shapes.
            rate: as in `mask`.

        Raises:
            ValueError: the rate is not in [0, 1).
        """
        shapes = [value.shape for name, value in params.items() if prunable(name, value)]
        if self.granularity == "weight":
            return floor(_share(rate) * sum(shape.numel() for shape in shapes))
        return sum(floor(_share(rate) * shape[0]) * shape[1:].numel() for shape in shapes)


@dataclass(frozen=True)
class CubicRamp:
    """Pruning rate that moves from `initial` to `final` over `rounds` by a cubic law: fast at first, then slowly."""

    # rate(t) = final + (initial - final) (1 - t / rounds)^3; Zhu and Gupta, arXiv 1710.01878, equation 1.

    initial: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Share of weights pruned in round 0."""

    final: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Share of weights pruned from round `rounds` on."""

    rounds: Annotated[int, Ge(0)] = 0
    """Rounds until the final rate is reached; 0 prunes at the final rate from the beginning."""

    def rate(self, round: int) -> float:
        """Share of the prunable weights that is pruned in a round; rounds are counted from 0."""
        if round >= self.rounds:
            return self.final
        return self.final + (self.initial - self.final) * (1 - round / self.rounds) ** 3


def masked(params: Tree, masks: Tree) -> Tree:
    """The parameters with zeros where the mask is false."""
    return {name: torch.where(masks[name], value, 0) for name, value in params.items()}


def _share(rate: float) -> Fraction:
    if not 0 <= rate < 1:
        raise ValueError(f"a pruning rate lies in [0, 1), not {rate}")
    return Fraction(repr(rate))  # the decimal number as written: floor(0.29 * 100) is 29, but 28 in binary arithmetic


def _weights_kept(scores: Tree, share: Fraction) -> Tree:
    flat = torch.cat([score.flatten() for score in scores.values()])
    kept = _all_but_least(flat, floor(share * flat.numel()))
    pieces = torch.split(kept, [score.numel() for score in scores.values()])
    return {name: piece.reshape(score.shape) for (name, score), piece in zip(scores.items(), pieces, strict=True)}


def _channels_kept(scores: Tree, share: Fraction) -> Tree:
    kept = {}
    for name, score in scores.items():
        channels = score.flatten(1).sum(1)  # (outputs,)
        rows = _all_but_least(channels, floor(share * len(channels)))
        kept[name] = rows.reshape(-1, *[1] * (score.dim() - 1)).expand(score.shape)
    return kept


def _all_but_least(scores: Tensor, count: int) -> Tensor:
    least = torch.argsort(scores, stable=True)[:count]
    return torch.ones_like(scores, dtype=torch.bool).scatter(0, least, torch.zeros_like(least, dtype=torch.bool))
