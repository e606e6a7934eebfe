"""Zipf routing: some experts are more popular than others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from learning.ports import Streams
from learning.routing.routing import ONLY, Choices, Layer, Routing


@dataclass(frozen=True)
class ZipfRouting(Routing):
    """Every token goes to distinct experts drawn one after the other, in proportion to their popularity.

    The expert of rank r = 1, 2, ... has a popularity proportional to r to the power of -`exponent`. A token's experts
    follow the Plackett-Luce distribution: the next one is drawn from those that are left.
    Breslau et al., Web caching and Zipf-like distributions, INFOCOM 1999; Plackett, Applied Statistics 24(2), 1975.
    """

    exponent: Annotated[float, Ge(0), Le(100)] = 1.0
    """Exponent of the popularity; 0 is uniform routing."""
    own_ranks: bool = False
    """Whether each user has a random order of ranks of its own in each layer, its interests. Otherwise expert 0 is the
    most popular one of all users, expert 1 the next, and so on."""

    def fresh(
        self, streams: Streams, tokens: int, per_token: int, experts: int, *entity: int | str, layer: Layer = ONLY
    ) -> Choices:
        ranks = np.arange(1, experts + 1)
        if self.own_ranks:
            ranks = streams.generator("interests", *entity[:1], layer.number).permutation(ranks)
        # The first of several exponential times ends with a probability proportional to its rate, then the next, ...
        times = (
            streams.generator("routing", *entity, layer.number).exponential(size=(tokens, experts))
            * ranks**self.exponent
        )
        return times.argsort(axis=-1)[:, :per_token]
