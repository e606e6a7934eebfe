"""Federated learning as written for the framework Flower."""

from learning.schemes.flower.context import batches, samples
from learning.schemes.flower.scheme import Flower

__all__ = ["Flower", "batches", "samples"]
