"""What FedSL-PQ computes: pruning, pruned forward pass, quantised masked update, and the mean of pruned models."""

from __future__ import annotations

from torch import Tensor

from learning.aggregators import masked_mean, weighted_mean
from learning.codecs import Codec
from learning.executor.deferred import Tree
from learning.executor.flops import charge_elementwise, uncharged
from learning.models import Segment
from learning.optimisers import Optimiser
from learning.reducers.dropout import Dropout
from learning.reducers.pruning import Pruning, masked
from learning.steps import Parameters, pullback


def pruned(
    pruning: Pruning, gradients: Parameters | None, rate: float, weights: Parameters
) -> tuple[Parameters, Parameters]:
    """Mask a model by the importance of its weights: the weights kept (others zero), and the mask (bool).

    Charged a comparison for each weight. `rate` is the share of the prunable weights that is removed; `gradients` are
    those that the importance `taylor` goes by.
    """
    charge_elementwise(1, weights)
    mask = pruning.mask(weights, pruning.scores(weights, gradients), rate)
    return masked(weights, mask), mask


def front(segment: Segment, dropout: Dropout, weights: Parameters, x: Tensor, u: Tensor | None) -> Tensor:
    """Smashed data with dropped activations at zero; `u` are the draws that decide, None without dropout."""
    z = segment(weights, x)
    return z if u is None else dropout.apply(z, dropout.mask(u))


def update(
    segment: Segment,
    dropout: Dropout,
    optimiser: Optimiser,
    codec: Codec,
    weights: Parameters,
    state: Tree,
    mask: Parameters,
    x: Tensor,
    dz: Tensor,
    u: Tensor | None,
    noise: dict[str, Tensor] | None,
) -> tuple[Parameters, Tree, Parameters]:
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


def aggregated(
    front: Parameters, fronts: list[Parameters], masks: list[Parameters] | None, weights: tuple[float, ...]
) -> Parameters:
    """The mean of the users' device parts, over those that kept an entry where masks are given.

    Charged a FLOP for each weight of each user. `front` is the last aggregate, of which entries stay that no user kept.
    """
    charge_elementwise(1, fronts)
    return weighted_mean(fronts, weights) if masks is None else masked_mean(front, fronts, masks, weights)
