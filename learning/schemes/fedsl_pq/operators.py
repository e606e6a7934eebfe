"""Operations of FedSL-PQ: pruning, pruned forward pass, quantised masked update, and the mean of pruned models."""

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
    """Mask a model by the importance of its weights; charged one comparison for each weight.

    Args:
        pruning: importance and granularity.
        gradients: the last gradients by name, which the importance `taylor` needs; else None.
        rate: share of the prunable weights that is removed, in [0, 1).
        weights: the weights by name.

    Returns:
        The weights with those removed set to zero, and the mask, boolean tensors by name.
    """
    charge_elementwise(1, weights)
    mask = pruning.mask(weights, pruning.scores(weights, gradients), rate)
    return masked(weights, mask), mask


def front(segment: Segment, dropout: Dropout, weights: Parameters, x: Tensor, u: Tensor | None) -> Tensor:
    """Smashed data of a mini-batch `x`, dropped activations being zero; `u` are the dropout's draws, None without."""
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
    """Masked update with quantised gradients: w - gamma m Q(m g).

    Dropout is part of the function that is differentiated, so gradients of dropped activations vanish and the others
    are scaled once in each direction.

    Args:
        segment: the device's part of the model.
        dropout: dropout of the smashed data.
        optimiser: the device's optimiser.
        codec: quantiser of the gradient.
        weights: pruned weights by name.
        state: state of the optimiser.
        mask: which weights are kept, boolean tensors by name.
        x: the mini-batch, (samples, ...).
        dz: the cut-layer gradient.
        u: draws of the dropout; None without dropout.
        noise: uniform numbers for stochastic rounding, by name; None without quantisation.

    Returns:
        The new weights, the new state, and g itself for the next importance scores: a pruned weight has a gradient
        too, and with the masked one its importance |w g| would always be zero.
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
    """Mean of the users' device parts; charged one FLOP for each weight of each user.

    Args:
        front: the last aggregate, from which entries are taken that no user kept.
        fronts: each user's device part.
        masks: each user's mask, where an entry is to be averaged over the users that kept it; None for the plain mean.
        weights: each user's weight.
    """
    charge_elementwise(1, fronts)
    return weighted_mean(fronts, weights) if masks is None else masked_mean(front, fronts, masks, weights)
