"""A bound on the mean squared gradient norm that FedSL-PQ reaches, for predicting the order of settings only.

The first three terms have the shape of AdaptSFL's bound (arXiv 2403.13101); the terms of pruning, quantisation and
dropout are this project's. Their constants are unknown: they must be fitted, or the bound used for orderings alone.
"""

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class LayerStatistics:
    """Statistics of the gradients of one layer."""

    gradient_variance: float
    """sigma^2: variance of the mini-batch gradient."""
    gradient_square: float
    """G^2: bound on the squared norm of the gradient."""
    weights: int
    """d: number of weights."""
    gradient_range: float
    """R: largest minus smallest gradient entry."""


@dataclass(frozen=True)
class BoundSetting:
    """Hyper-parameters of the scheme, and assumptions on the loss function."""

    interval: int
    """I: rounds between aggregations of the device parts."""
    cut: int
    """Layers on the device."""
    pruning_rate: float
    """rho: share of the device part's weights that is pruned, in [0, 1)."""
    gradient_bits: int
    """b: bits of the quantised gradient of the device part; 32 for no quantisation."""
    dropout_rate: float
    """p: probability that an activation at the cut is dropped, in [0, 1)."""
    rounds: int
    """T: rounds of training."""
    users: int
    """K: users that take part in a round."""
    learning_rate: float
    """gamma: learning rate."""
    smoothness: float
    """beta: Lipschitz constant of the gradient."""
    initial_gap: float
    """f(w_0) - f*: initial loss above the minimum."""
    weight_square: float
    """||w_c||^2: squared norm of the device part."""
    activation_square: float
    """A^2: mean squared norm of the smashed data."""


def stationarity_bound(
    s: BoundSetting,
    layers: list[LayerStatistics],
    pruning: float = 1.0,
    quantisation: float = 1.0,
    dropout: float = 1.0,
) -> float:
    """Bound on the mean squared norm of the gradient over the rounds.

    Args:
        s: hyper-parameters and assumptions.
        layers: statistics of all layers, those of the device part first.
        pruning, quantisation, dropout: constants c_p, c_q and c_d of the terms of the three operators.
    """
    device = layers[: s.cut]
    per_user = s.smoothness * s.learning_rate / s.users
    levels = 2**s.gradient_bits - 1
    start = 2 * s.initial_gap / (s.learning_rate * s.rounds)
    noise = per_user * sum(layer.gradient_variance for layer in layers)
    drift = 4 * prod([s.smoothness, s.learning_rate, s.interval]) ** 2 * sum(layer.gradient_square for layer in device)
    rounding = sum(layer.weights * layer.gradient_range**2 for layer in device) / (4 * levels**2)
    return (
        start
        + noise
        + (drift if s.interval > 1 else 0)
        + pruning * s.smoothness**2 * s.pruning_rate * s.weight_square
        + (quantisation * per_user * rounding if s.gradient_bits < 32 else 0)
        + dropout * per_user * s.dropout_rate / (1 - s.dropout_rate) * s.activation_square
    )
