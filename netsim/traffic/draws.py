"""Sequences of random draws, each named by its position in a stream."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count

import numpy as np

from netsim.streams import exponentials, uniforms

CHUNK = 64
"""Number of draws computed at a time."""


def uniform_draws(key: int) -> Iterator[float]:
    """Yield the uniform numbers in (0, 1) of the stream `key` in order, without end."""
    return chain.from_iterable(uniforms(key, first + np.arange(CHUNK)).tolist() for first in count(0, CHUNK))


def exponential_draws(key: int) -> Iterator[float]:
    """Yield the exponential numbers with mean 1 of the stream `key` in order, without end."""
    return chain.from_iterable(exponentials(key, first + np.arange(CHUNK)).tolist() for first in count(0, CHUNK))
