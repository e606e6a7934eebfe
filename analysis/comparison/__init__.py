"""Comparison of runs paired by seed, with confidence intervals and one sentence per result."""

from analysis.comparison.compare import Comparison, NotComparable, compare

__all__ = ["Comparison", "NotComparable", "compare"]
