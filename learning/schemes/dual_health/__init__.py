"""DUAL-Health: detection of a state of health by several sensors, weighted by the uncertainty of each."""

from learning.schemes.dual_health.scheme import DualHealth

__all__ = ["DualHealth"]
