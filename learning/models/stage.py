"""A transformer with experts in stages, between which its experts are called.

A stage is a run of blocks that ends with a layer with experts, or with the head. It computes all but the experts: of a
layer that has some, the attention, the normalisation and the gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import NamedTuple, TypeGuard

import torch.nn.functional as F
from torch import Tensor, nn

from learning.models.experts import Experts, Gate, MixtureOfExperts, activated
from learning.models.gpt import NextToken, TokenEmbedding
from learning.models.segment import Segment, modules
from learning.models.stateless import Stateless
from learning.models.vit import Attention, Embedding, Head, Layer


def stages(model: Segment) -> tuple[Segment, ...]:
    """The stages of a whole model, in the order in which tokens pass them; one more than there are layers with experts.

    Raises ValueError if the model is no `vit` or `gpt`, or no layer has experts.
    """
    blocks = list(modules(model).children())
    if not all(isinstance(block, Embedding | TokenEmbedding | Layer | Head | NextToken) for block in blocks):
        raise ValueError("the model has no layers whose experts can be called; choose vit or gpt, with experts")
    ends = [number + 1 for number, block in enumerate(blocks) if has_experts(block)]
    if not ends:
        raise ValueError("no layer of the model has experts; give it some by learning.model.experts")
    bounds = [0, *ends, len(blocks)]
    return tuple(replace(model, start=start, stop=stop) for start, stop in pairwise(bounds))


def has_experts(block: nn.Module) -> TypeGuard[Layer]:
    """Whether a block of a model is a layer with experts."""
    return isinstance(block, Layer) and isinstance(block.feed[1], MixtureOfExperts)


@cache
def experts_of(model: Segment) -> Experts:
    """How the experts of a whole model are described. Raises ValueError as `stages`."""
    end = stages(model)[0].stop
    layer = list(modules(model).children())[end - 1]
    assert isinstance(layer, Layer)
    experts = layer.feed[1]
    assert isinstance(experts, MixtureOfExperts)
    return experts.described


class Gated(NamedTuple):
    """What a stage that ends with a layer with experts makes of the tokens of a mini-batch, b samples of t tokens."""

    residual: Tensor
    """(b, t, width): the tokens to which the outputs of the experts are added."""
    tokens: Tensor
    """(1, b t, width): the normalised tokens, for the experts."""
    logits: Tensor | None
    """(b t, count): what the gate makes of them, by which experts are chosen; None of a stage without the gate."""


class Trunk(nn.Module):
    """Attention, normalisation and gate of a layer with experts, by the names that they have in the layer."""

    def __init__(self, layer: Layer, gated: bool) -> None:
        """The parts of a layer; the gate is left out unless `gated`."""
        super().__init__()
        norm, experts = layer.feed
        assert isinstance(experts, MixtureOfExperts)
        self.attend, self.feed = layer.attend, nn.Sequential(norm, *([Gate(experts)] if gated else []))

    def gated(self, x: Tensor) -> Gated:
        """What the experts are to compute, of tokens (b, t, width) behind the attention."""
        normalised = self.feed[0](x).flatten(0, 1)
        return Gated(x, normalised[None], self.feed[1](normalised) if len(self.feed) > 1 else None)


Cache = list[Tensor]
"""Keys and values of earlier tokens in the layers of a stage: for each layer two tensors (b, earlier tokens, width).
It is empty before the first token, and where tokens attend to later ones."""


class Stage(nn.Module):
    """The blocks of a stage without experts, by their names in the whole model."""

    def __init__(self, run: nn.Module, gated: bool) -> None:
        """The blocks of a run; the gate at its end, if there is one, is left out unless `gated`."""
        super().__init__()
        for name, block in run.named_children():
            self.add_module(name, Trunk(block, gated) if has_experts(block) else block)

    def forward(self, x: Tensor, cache: Cache) -> tuple[Gated | Tensor, Cache]:
        """What becomes of samples, or of the tokens (b, t, width) that the former stage and its experts leave.

        Tokens are those behind the cached ones. Returns `Gated`, or of the last stage the logits (b, classes): those
        of the class, or of the token that follows the last one. The second result is the cache with their keys and
        values appended.
        """
        earlier = zip(cache[::2], cache[1::2], strict=True)
        kept: Cache = []
        for block in self.children():
            if isinstance(block, Layer | Trunk):
                x = self._attended(block, x, earlier, kept)
            if isinstance(block, Layer):
                x = x + block.feed(x)
            elif isinstance(block, Trunk):
                return block.gated(x), kept
            elif isinstance(block, TokenEmbedding):
                x = block(x, cache[0].shape[1] if cache else 0)
            else:
                x = block(x[:, -1:])[:, 0] if isinstance(block, NextToken) else block(x)
        return x, kept

    def _attended(
        self, block: Layer | Trunk, x: Tensor, earlier: Iterator[tuple[Tensor, Tensor]], kept: Cache
    ) -> Tensor:
        norm, attention = block.attend
        assert isinstance(attention, Attention)
        mixed, own = attention.extended(norm(x), next(earlier, None))
        if attention.causal:
            kept += own
        return x + mixed


def parameters(stage: Segment, *, gated: bool = True) -> list[str]:
    """Names of the parameters of a stage, in the whole model; those of experts, shared ones too, are left out.

    So are those of the gate unless `gated`.
    """
    return list(_function(stage, gated).parameters)


def run(
    stage: Segment, parameters: dict[str, Tensor], x: Tensor, cache: Cache, *, gated: bool = True
) -> tuple[Gated | Tensor, Cache]:
    """`Stage.forward` for exactly these parameters, as a pure function; without the gate unless `gated`."""
    out: tuple[Gated | Tensor, Cache] = _function(stage, gated)(parameters, x, cache)
    return out


@cache
def _function(stage: Segment, gated: bool) -> Stateless:
    return Stateless(Stage(modules(stage), gated))


def feed_forward(parameters: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """The output of one expert, or of the shared experts, for tokens (..., width); `parameters` are its own ones."""
    own = {".".join(name.rsplit(".", 2)[1:]): each for name, each in parameters.items()}
    inner = F.linear(tokens, own["fc1.weight"], own["fc1.bias"])
    hidden = activated(inner, gated=inner.shape[-1] > own["fc2.weight"].shape[1])
    return F.linear(hidden, own["fc2.weight"], own["fc2.bias"])
