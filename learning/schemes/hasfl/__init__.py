"""Split federated learning in which every user has its own cut and mini-batch size, and what decides on them."""

from learning.schemes.hasfl.controllers import CONTROLLERS, AdaptSFL, Controller, Fixed, Hasfl, Proportional, Random
from learning.schemes.hasfl.scheme import HASFL

__all__ = ["CONTROLLERS", "HASFL", "AdaptSFL", "Controller", "Fixed", "Hasfl", "Proportional", "Random"]
