"""Split federated learning in which every user has its own cut and mini-batch size."""

from learning.schemes.hasfl.scheme import HASFL

__all__ = ["HASFL"]
