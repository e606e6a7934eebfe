"""Sums of floats that are equal bit for bit under every version of Python."""

from collections.abc import Iterable
from functools import reduce
from operator import add


def in_order(values: Iterable[float]) -> float:
    """Sum of numbers, each rounded as it is added, from left to right; 0.0 for none.

    The built-in `sum` does this up to Python 3.11, and from 3.12 on compensates for the rounding errors of floats.
    """
    return reduce(add, values, 0.0)
