"""Reducers change the model itself, differentiably: what is dropped or pruned is neither computed with nor sent."""

from learning.reducers.dropout import Dropout
from learning.reducers.pruning import CubicRamp, Pruning

__all__ = ["CubicRamp", "Dropout", "Pruning"]
