"""Draws one after another, each named by its position."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count

import numpy as np

from netsim.streams import exponentials, uniforms

CHUNK = 64
"""Draws that are made at a time."""


def uniform_draws(key: int) -> Iterator[float]:
    """Uniform numbers of a stream, without end."""
    return chain.from_iterable(uniforms(key, first + np.arange(CHUNK)).tolist() for first in count(0, CHUNK))


def exponential_draws(key: int) -> Iterator[float]:
    """Exponential numbers of a stream with mean one, without end."""
    return chain.from_iterable(exponentials(key, first + np.arange(CHUNK)).tolist() for first in count(0, CHUNK))
