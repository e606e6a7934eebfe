"""Comparison of runs by paired seeds, with intervals and sentences of what can and cannot be said."""

from analysis.comparison.compare import Comparison, NotComparable, compare

__all__ = ["Comparison", "NotComparable", "compare"]
