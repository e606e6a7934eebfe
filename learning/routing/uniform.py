"""Uniform routing: all experts are equally likely."""

from __future__ import annotations

from dataclasses import dataclass

from learning.ports import Streams
from learning.routing.routing import ONLY, Choices, Layer, Routing


@dataclass(frozen=True)
class UniformRouting(Routing):
    """Every token goes to distinct experts drawn at random, all equally likely."""

    def fresh(
        self, streams: Streams, tokens: int, per_token: int, experts: int, *entity: int | str, layer: Layer = ONLY
    ) -> Choices:
        drawn = streams.generator("routing", *entity, layer.number).random((tokens, experts))
        return drawn.argsort(axis=-1)[:, :per_token]
