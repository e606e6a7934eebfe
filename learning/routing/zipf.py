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
    change_after_requests: Annotated[int, Ge(1)] | None = None
    """Number of requests of a user after which new ranks are drawn for it, again and again: its interests change. Null
    is never; a number needs `own_ranks`. Experts are placed by the interests at the beginning."""

    def __post_init__(self) -> None:
        if self.change_after_requests is not None and not self.own_ranks:
            raise ValueError("change_after_requests is about the interests of each user; set own_ranks to true")

    def fresh(
        self, streams: Streams, tokens: int, per_token: int, experts: int, *entity: int | str, layer: Layer = ONLY
    ) -> Choices:
        ranks = np.arange(1, experts + 1)
        if self.own_ranks:
            named = *entity[:1], layer.number, *self._changes(*entity[1:])
            ranks = streams.generator("interests", *named).permutation(ranks)
        # The first of several exponential times ends with a probability proportional to its rate, then the next, ...
        times = (
            streams.generator("routing", *entity, layer.number).exponential(size=(tokens, experts))
            * ranks**self.exponent
        )
        return times.argsort(axis=-1)[:, :per_token]

    def _changes(self, *names: int | str) -> tuple[int, ...]:
        """The number of changes before the request that names end with, in a tuple; an empty one before the first."""
        *_, number = names or (0,)
        if self.change_after_requests is None or isinstance(number, str):
            return ()
        changes = max(number, 0) // self.change_after_requests  # statistics for a placement have the number -1
        return (changes,) if changes else ()
