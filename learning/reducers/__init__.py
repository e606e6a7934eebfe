"""Reducers change the model itself, differentiably: what is dropped or pruned is neither computed with nor sent."""

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
