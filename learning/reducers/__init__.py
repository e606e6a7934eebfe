"""Reducers: differentiable operators of the model itself that leave out activations, weights or tokens."""

from learning.reducers.dropout import Dropout
from learning.reducers.lengths import Strided, WindowPool
from learning.reducers.pruning import CubicRamp, Pruning
from learning.reducers.tokens import (
    Pooled,
    Reduced,
    Selected,
    TokenReducer,
    check_tokens,
    importance,
    patch_tokens,
    reduce_tokens,
)
from learning.reducers.towers import ReducedTower, reduced_towers

TOKEN_REDUCERS: dict[str, type] = {
    "selected": Selected,
    "pooled": Pooled,
    "strided": Strided,
    "window_pool": WindowPool,
}

__all__ = [
    "TOKEN_REDUCERS",
    "CubicRamp",
    "Dropout",
    "Pooled",
    "Pruning",
    "Reduced",
    "ReducedTower",
    "Selected",
    "Strided",
    "TokenReducer",
    "WindowPool",
    "check_tokens",
    "importance",
    "patch_tokens",
    "reduce_tokens",
    "reduced_towers",
]
