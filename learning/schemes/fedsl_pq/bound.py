"""How far from stationary FedSL-PQ may stay: a bound for prediction only.

The first three terms have the shape of AdaptSFL's bound (arXiv 2403.13101); the terms of pruning, quantisation and
dropout are this project's. Their constants are not claimed: they are to be fitted, or used for orderings alone.
"""

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Layer:
    """What the bound needs to know of one layer."""

    gradient_variance: float
    """sigma^2: variance of the mini-batch gradient."""
    gradient_square: float
    """G^2: bound on the squared norm of the gradient."""
    weights: int
    """d: number of weights."""
    gradient_range: float
    """R: largest minus least gradient entry."""


@dataclass(frozen=True)
class Setting:
    """The knobs of the scheme, and the smoothness of the problem."""

    interval: int
    cut: int
    pruning_rate: float
    gradient_bits: int
    dropout_rate: float
    rounds: int
    users: int
    learning_rate: float
    smoothness: float
    """beta: Lipschitz constant of the gradient."""
    initial_gap: float
    """f(w_0) - f*."""
    weight_square: float
    """||w_c||^2: squared norm of the device part."""
    activation_square: float
    """A^2: mean squared norm of the smashed data."""


def bound(
    s: Setting, layers: list[Layer], pruning: float = 1.0, quantisation: float = 1.0, dropout: float = 1.0
) -> float:
    """Bound on the mean squared gradient norm; the last three arguments are the constants c_p, c_q, c_d."""
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
