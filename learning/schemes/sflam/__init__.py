"""Quantised split federated fine-tuning, and what decides on bits, power and bandwidth before each round."""

from learning.schemes.sflam.control import Control
from learning.schemes.sflam.scheme import SFLAM

__all__ = ["SFLAM", "Control"]
