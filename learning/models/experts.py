"""Mixture of experts: the feed-forward part of a transformer layer as several networks, of which a gate chooses some.

Every token is computed by its top K experts, whose outputs are weighted by the gate and summed in the order of the
experts' numbers. Shapes must not depend on values, so each expert computes all tokens, and those that did not choose it
have weight zero. Charged are the chosen pairs of token and expert alone: on meta tensors, where there are no values to
choose by, tokens are divided evenly among the experts.
"""

# Shazeer et al., ICLR 2017, arXiv 1701.06538; Fedus, Zoph and Shazeer, Switch transformers, JMLR 2022.

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Interval, Le, MinLen
from torch import Tensor, nn

from learning.models.projection import Projection


@dataclass(frozen=True)
class Experts:
    """Mixture of experts in place of the feed-forward part of transformer layers."""

    count: Annotated[int, Ge(1), Le(1024)] = 8
    """Number of experts of a layer, from which the gate chooses; at most 1024, as each has its own operations."""

    top_k: Annotated[int, Ge(1)] = 2
    """Number of experts that compute each token; at most `count`."""

    softmax: Literal["all", "chosen"] = "all"
    """Experts over which the gate's softmax is taken: all of them before the choice, so that the weights of the chosen
    ones sum to at most one (Switch, DeepSeekMoE), or the chosen ones after it (Mixtral)."""

    gated: bool = False
    """Make each expert a gated linear unit with three matrices (SwiGLU: Shazeer, arXiv 2002.05202); by default it has
    two matrices with a GELU in between."""

    expansion: Annotated[float, Gt(0)] | None = None
    """Width of the hidden layer of an expert, in multiples of the model's width (default: the model's `expansion`)."""

    shared: Annotated[int, Interval(ge=0, le=1024)] = 0
    """Number of shared experts, which compute all tokens without a gate (DeepSeekMoE: Dai et al., arXiv 2401.06066)."""

    layers: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] | None = None
    """Numbers of the transformer layers with experts, from 0 (default: all layers)."""

    load_balance: Annotated[float, Ge(0)] = 0.0
    """Coefficient of the load-balance loss that each layer adds to the training loss: `count` times the sum, over
    experts, of share of the choices and mean probability, which is 1 where all are used equally (Fedus et al., JMLR
    2022). It enters the gradients alone; losses in the tables are those of the task. 0 leaves it out."""

    def __post_init__(self) -> None:
        if self.top_k > self.count:
            raise ValueError(f"a token cannot go to top_k = {self.top_k} of count = {self.count} experts")

    def check(self, depth: int) -> None:
        """Raises ValueError if `layers` has a number that none of `depth` transformer layers has."""
        wrong = [layer for layer in self.layers or () if layer >= depth]
        if wrong:
            raise ValueError(f"there is no layer {wrong[0]} to have experts; layers: 0 to {depth - 1}")

    def of_layer(self, layer: int) -> Experts | None:
        """The experts of the transformer layer of this number; None if it is dense."""
        return self if self.layers is None or layer in self.layers else None


class FeedForward(nn.Module):
    """Feed-forward network of a transformer layer: tokens (..., width) to (..., width)."""

    def __init__(self, width: int, hidden: int, gated: bool) -> None:
        """A network with a hidden layer of width `hidden`; `gated` as in `Experts`."""
        super().__init__()
        self.gated = gated
        self.fc1 = Projection(width, 2 * hidden if gated else hidden, "fc1")
        self.fc2 = Projection(hidden, width, "fc2")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(activated(self.fc1(x), self.gated))
        return out


def activated(inner: Tensor, gated: bool) -> Tensor:
    """The hidden layer of a feed-forward network, (..., hidden), from its first matrix product.

    That is (..., hidden), or with `gated` (..., 2 hidden), gates first.
    """
    if not gated:
        return F.gelu(inner)
    gate, value = inner.chunk(2, dim=-1)
    return F.silu(gate) * value


class MixtureOfExperts(nn.Module):
    """Experts and their gate: tokens (..., width) to (..., width)."""

    def __init__(self, width: int, hidden: int, described: Experts) -> None:
        """A mixture as described, of experts with a hidden layer of width `hidden`."""
        super().__init__()
        self.described = described
        self.gate = nn.Linear(width, described.count, bias=False)
        self.experts = nn.ModuleList(FeedForward(width, hidden, described.gated) for _ in range(described.count))
        if described.shared:
            self.shared = FeedForward(width, described.shared * hidden, described.gated)

    def routed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the gate makes of tokens (..., width).

        Returns its probabilities, (..., count), and the numbers of the chosen experts, (..., top_k), the best first; of
        equal ones the lower number is preferred.
        """
        return routed(self.described, self.gate(x))

    def forward(self, x: Tensor) -> Tensor:
        logits = self.gate(x)
        probabilities, ids = routed(self.described, logits)
        chosen, weights = weighted(self.described, logits, probabilities, ids)
        mixed = self._divided(x, weights) if x.is_meta else self._masked(x, weights)
        if self.described.shared:
            mixed = mixed + self.shared(x)
        if self.described.load_balance:
            mixed = with_loss(mixed, self.described.load_balance * load_balance_loss(probabilities, chosen))
        return mixed

    def _masked(self, x: Tensor, weights: Tensor) -> Tensor:
        """The outputs of all experts for all tokens, (..., width), weighted and summed in order."""
        terms = [weights[..., number : number + 1] * expert(x) for number, expert in enumerate(self.experts)]
        total: Tensor = reduce(add, terms)
        return total

    def _divided(self, x: Tensor, weights: Tensor) -> Tensor:
        """The same in shape on meta tensors, where each expert computes an even share of the pairs."""
        count, top_k = self.described.count, self.described.top_k
        pairs = x.flatten(0, -2).repeat(top_k, 1)  # (pairs, width)
        bounds = [len(pairs) * number // count for number in range(count + 1)]
        shares = torch.split(pairs, [end - start for start, end in pairwise(bounds)])
        outputs = torch.cat([expert(share) for expert, share in zip(self.experts, shares, strict=True)])
        return (weights[..., :top_k, None].movedim(-2, 0) * outputs.reshape(top_k, *x.shape)).sum(0)


def routed(described: Experts, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities, (..., count), and chosen experts, (..., top_k), of a gate's logits; see `MixtureOfExperts`."""
    return logits.softmax(-1), best(logits, described.top_k)


def best(logits: Tensor, top_k: int) -> Tensor:
    """Numbers of the experts with the largest logits, (..., top_k), the best first; of equal ones the lower number."""
    return logits.argsort(dim=-1, descending=True, stable=True)[..., :top_k]


def weighted(described: Experts, logits: Tensor, probabilities: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each expert is chosen, and its weight in the sum of the outputs, 0 if it is not: (..., count) each.

    `probabilities` and `ids` are what `routed` makes of the logits.
    """
    chosen = (ids[..., None] == torch.arange(described.count, device=ids.device)).any(-2)
    if described.softmax == "chosen":
        return chosen, logits.masked_fill(~chosen, -torch.inf).softmax(-1)
    return chosen, probabilities * chosen


def load_balance_loss(probabilities: Tensor, chosen: Tensor) -> Tensor:
    """Load-balance loss of a layer: count x sum over experts of (share of the choices) x (mean probability).

    It is 1 where all experts have equal shares. Fedus et al., JMLR 2022, equations 4 to 6, for top K: the share of an
    expert is its part of all pairs of token and expert (Dai et al., arXiv 2401.06066, equations 12 to 14).

    Args:
        probabilities: the gate's softmax over all experts, (..., count); the gradient flows through it alone.
        chosen: which experts compute each token, (..., count), boolean.
    """
    count = probabilities.shape[-1]
    share = chosen.to(probabilities.dtype).flatten(0, -2).mean(0)
    return count * (share / share.sum() * probabilities.flatten(0, -2).mean(0)).sum()


def with_loss(output: Tensor, loss: Tensor) -> Tensor:
    """An output unchanged, such that a backward pass through it also adds the gradient of a further loss.

    So the loss of a layer enters training wherever the model is cut: with the gradient of the output, which comes from
    behind the layer, that of the loss is passed on to what is before it. The loss of the task must not be scaled after
    it was differentiated.
    """
    # As in DeepSeekMoE's published code (AddAuxiliaryLoss).
    out: Tensor = _WithLoss.apply(output, loss)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return out


class _WithLoss(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(output: Tensor, loss: Tensor) -> Tensor:
        return output.view_as(output)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.like = inputs[1].shape, inputs[1].dtype

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        shape, dtype = ctx.like
        return gradient, torch.ones(shape, dtype=dtype, device=gradient.device)


class Gate(nn.Module):
    """The gate of a mixture without its experts: tokens (..., width) to logits (..., count)."""

    def __init__(self, mixture: MixtureOfExperts) -> None:
        super().__init__()
        self.gate = mixture.gate

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.gate(x)
        return logits


class Routed(nn.Sequential):
    """Blocks that return what the gates in them make of the tokens, instead of their output."""

    def forward(self, x: Any) -> tuple[Tensor, Tensor]:
        """Probabilities (layers, ..., count) and chosen experts (layers, ..., top_k) of the layers with experts.

        Raises ValueError if there are none.
        """
        seen: list[tuple[Tensor, Tensor]] = []

        def see(mixture: nn.Module, inputs: tuple[Tensor], _: Tensor) -> None:
            assert isinstance(mixture, MixtureOfExperts)
            seen.append(mixture.routed(*inputs))

        mixtures = [module for module in self.modules() if isinstance(module, MixtureOfExperts)]
        if not mixtures:
            raise ValueError("none of the blocks has experts")
        hooks = [mixture.register_forward_hook(see) for mixture in mixtures]
        try:
            super().forward(x)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        finally:
            for hook in hooks:
                hook.remove()
        probabilities, ids = zip(*seen, strict=True)
        return torch.stack(probabilities), torch.stack(ids)


def expert_of(parameter: str) -> tuple[str, int] | None:
    """Name of the mixture and number of the expert to which a parameter belongs; None if it belongs to no expert.

    "1.feed.1.experts.3.fc1.weight" is one of expert 3 of the mixture "1.feed.1".
    """
    mixture, inside, rest = parameter.partition(".experts.")
    return (mixture, int(rest.partition(".")[0])) if inside else None
