"""The operations of a forward pass in stages: what a device computes between calls of experts, and an expert's work.

A pass of a model with L layers with experts is L times `trunk` and the experts, then `answer`. With no tokens left out
it computes what `Segment` computes in one operation.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import torch.nn.functional as F
from torch import Tensor

from learning import steps
from learning.dispatch import Gating, TopK
from learning.models import Segment
from learning.models.experts import best
from learning.models.stage import Cache, Gated, experts_of, feed_forward, run
from learning.steps import Parameters


def trunk(
    stage: Segment,
    parameters: Parameters,
    inputs: list[Tensor],
    cache: Cache,
    gating: Gating = TopK(),  # noqa: B008 (frozen)
    delays_s: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Cache]:
    """A stage up to the experts of its last layer.

    Args:
        stage: the stage, which ends with a layer with experts.
        parameters: its parameters.
        inputs: samples (b, ...) of the first stage; of others the residual of the former one, (b, t, width), then what
            its experts and its shared experts return, (1, b t, width) each.
        cache: keys and values of earlier tokens in its layers.
        gating: the choice of experts.
        delays_s: expected delay in seconds of a call of each expert, (count,); None if the choice does not use it.

    Returns:
        Residual and normalised tokens, as `Gated`; ids and weights of the experts of each token, (b t, top_k) each, as
        `Gating.choose`; and the cache with keys and values of these tokens.
    """
    gated, kept = run(stage, parameters, summed(inputs), cache)
    assert isinstance(gated, Gated)
    assert gated.logits is not None
    return gated.residual, gated.tokens, *_choice(stage, gated.logits, gating, delays_s), kept


def attended(
    stage: Segment, parameters: Parameters, inputs: list[Tensor], cache: Cache
) -> tuple[Tensor, Tensor, Cache]:
    """`trunk` without the gate: residual and normalised tokens, and the cache; `parameters` are without the gate's."""
    gated, kept = run(stage, parameters, summed(inputs), cache, gated=False)
    assert isinstance(gated, Gated)
    return gated.residual, gated.tokens, kept


def choice(
    stage: Segment,
    gate: Parameters,
    tokens: Tensor,
    gating: Gating = TopK(),  # noqa: B008 (frozen)
    delays_s: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The gate that `attended` leaves out.

    Args:
        stage: the stage.
        gate: weights of the gate, one tensor (experts, width).
        tokens: normalised tokens, (1, tokens, width).
        gating: as in `trunk`.
        delays_s: as in `trunk`.

    Returns ids and weights of the experts of each token, as `trunk`.
    """
    (weight,) = gate.values()
    return _choice(stage, F.linear(tokens[0], weight), gating, delays_s)


def _choice(stage: Segment, logits: Tensor, gating: Gating, delays_s: Tensor | None) -> tuple[Tensor, Tensor]:
    described = experts_of(stage.whole)
    return gating.choose(described, logits, logits.new_zeros(described.count) if delays_s is None else delays_s)


def answer(stage: Segment, parameters: Parameters, inputs: list[Tensor], cache: Cache) -> tuple[Tensor, Tensor, Cache]:
    """The last stage, with the head; arguments as of `trunk`.

    Returns the logits (b, classes) of the class, or of the token that follows the last one; the best class or token,
    (b, 1), int64; and the cache.
    """
    logits, kept = run(stage, parameters, summed(inputs), cache)
    assert isinstance(logits, Tensor)
    return logits, logits.argmax(-1, keepdim=True), kept


def extended(stage: Segment, parameters: Parameters, inputs: list[Tensor], cache: Cache) -> Cache:
    """The cache of a run of dense blocks with keys and values of further tokens; arguments as of `trunk`."""
    return run(stage, parameters, summed(inputs), cache)[1]


def summed(inputs: list[Tensor]) -> Tensor:
    """The residual, or samples, and what experts add to it, in the shape of the former."""
    first, *added = inputs
    return first + reduce(add, added).reshape(first.shape) if added else first


def predicted(gate: Parameters, tokens: Tensor, top_k: int) -> Tensor:
    """The experts that the gate of a later layer would choose for the tokens of this one.

    Args:
        gate: weights of that gate, one tensor (experts, width).
        tokens: normalised tokens, (1, tokens, width).
        top_k: number of experts of each token.

    Returns their numbers, (tokens, top_k), int64, the best first.
    """
    (weight,) = gate.values()
    return best(F.linear(tokens[0], weight), top_k)


def expert(parameters: Parameters, tokens: Tensor) -> Tensor:
    """The work of one expert, or of the shared ones: tokens (..., width) to outputs (..., width)."""
    return feed_forward(parameters, tokens)


def prompt(x: Tensor, start: int, stop: int) -> Tensor:
    """The tokens of samples from `start` to `stop` (exclusive), (b, t) to (b, stop - start)."""
    return x[:, start:stop]


def score(logits: Tensor, y: Tensor, position: int | None) -> tuple[Tensor, Tensor]:
    """Number of correct answers, and the sum of their losses, as `steps.score`.

    Args:
        logits: (b, classes).
        y: labels (b,), or (b, t) where every token has one.
        position: the token whose label is to be predicted, from 0; None where a sample has one label.
    """
    return steps.score(logits, y if position is None else y[:, position])
