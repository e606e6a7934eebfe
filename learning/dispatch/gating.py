"""Gating: to which experts a token goes, by the gate's logits and, beside them, the expected delays of the experts.

All but `top_k` change what a model computes, so that accuracy is traded for latency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from learning.dispatch.weights import NO_EXPERT, renormalised
from learning.models.experts import Experts, routed, weighted


class Gating(Protocol):
    """The choice of experts for tokens, which is a part of a pure operation."""

    @property
    def uses_delays(self) -> bool:
        """Whether `choose` depends on the delays."""
        ...

    def choose(self, described: Experts, logits: Tensor, delays_s: Tensor) -> tuple[Tensor, Tensor]:
        """Choose experts for tokens.

        Args:
            described: the experts of the layer, with the number of experts of a token.
            logits: the gate's logits, (tokens, count).
            delays_s: expected delay in seconds of a call of each expert for one token, (count,).

        Returns:
            Numbers of the experts of each token, `NO_EXPERT` where there are fewer, and their weights in the sum of the
            outputs, 0 where there is none: (tokens, top_k) each.
        """
        ...


@dataclass(frozen=True)
class TopK:
    """The experts with the largest logits, as the model was trained."""

    uses_delays: ClassVar[bool] = False

    def choose(self, described: Experts, logits: Tensor, delays_s: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, ids = routed(described, logits)
        return ids, weighted(described, logits, probabilities, ids)[1].gather(-1, ids)


@dataclass(frozen=True)
class ChannelAware:
    """The experts with the largest logits after a penalty for their expected delay.

    Their weights are those of the gate without the penalty, scaled to the sum that the weights of the experts with the
    largest logits have. The idea is that of gates that know the channel: arXiv 2504.00819.
    """

    eta_per_s: Annotated[float, Ge(0)] = 10.0
    """Penalty that is subtracted from a logit for each second of expected delay; 0 is `top_k` (our choice)."""
    uses_delays: ClassVar[bool] = True

    def choose(self, described: Experts, logits: Tensor, delays_s: Tensor) -> tuple[Tensor, Tensor]:
        _, exact = TopK().choose(described, logits, delays_s)
        _, ids = routed(described, logits - self.eta_per_s * delays_s)
        weights = weighted(described, logits, logits.softmax(-1), ids)[1].gather(-1, ids)
        return ids, weights * (exact.sum(-1, keepdim=True) / weights.sum(-1, keepdim=True))


@dataclass(frozen=True)
class SkipSmall:
    """The experts with the largest logits, without those of a small weight, except the best.

    The other weights of the token are scaled up to the same sum. After SiftMoE: arXiv 2603.23888.
    """

    theta: Annotated[float, Ge(0), Le(1)] = 0.1
    """Weight below which an expert is left out; 0 is `top_k`."""
    uses_delays: ClassVar[bool] = False

    def choose(self, described: Experts, logits: Tensor, delays_s: Tensor) -> tuple[Tensor, Tensor]:
        ids, weights = TopK().choose(described, logits, delays_s)
        kept = (weights >= self.theta) | (torch.arange(ids.shape[-1], device=ids.device) == 0)
        return torch.where(kept, ids, NO_EXPERT), renormalised(weights, kept)


@dataclass(frozen=True)
class WeightToLatency:
    """Of the experts with the largest logits, those with the largest ratio of weight to expected delay.

    As many are kept as have a given share of the weights, which are scaled up to the same sum. After WDMoE: arXiv
    2411.06681.
    """

    theta: Annotated[float, Gt(0), Le(1)] = 0.8
    """Share of the sum of the weights that the experts of a token have at least; 1 is `top_k`."""
    uses_delays: ClassVar[bool] = True

    def choose(self, described: Experts, logits: Tensor, delays_s: Tensor) -> tuple[Tensor, Tensor]:
        ids, weights = TopK().choose(described, logits, delays_s)
        order = (weights / delays_s[ids]).argsort(dim=-1, descending=True, stable=True)
        sorted_weights = weights.gather(-1, order)
        before = sorted_weights.cumsum(-1) - sorted_weights
        enough = before >= self.theta * weights.sum(-1, keepdim=True)
        kept = ~enough.scatter(-1, order, enough)
        return torch.where(kept, ids, NO_EXPERT), renormalised(weights, kept)
