"""Reducers: differentiable operators of the model itself that leave out activations, weights or tokens."""

from learning.reducers.dropout import Dropout
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

TOKEN_REDUCERS: dict[str, type] = {"selected": Selected, "pooled": Pooled}

__all__ = [
    "TOKEN_REDUCERS",
    "CubicRamp",
    "Dropout",
    "Pooled",
    "Pruning",
    "Reduced",
    "Selected",
    "TokenReducer",
    "check_tokens",
    "importance",
    "patch_tokens",
    "reduce_tokens",
]
