"""Routing distributions: to which experts tokens go where no gate is computed, as in a dry run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Lt
from numpy.typing import NDArray
from torch import Tensor

from learning.ports import Streams

Choices = NDArray[np.int64]
"""Numbers of the experts of each token, all different within a token: (tokens, experts per token)."""


@dataclass(frozen=True)
class Layer:
    """One of the layers of a model that have experts."""

    number: int
    """Its number among them, from 0."""
    count: int
    """Number of layers with experts."""


ONLY = Layer(0, 1)
"""The layer of a model with a single layer of experts."""


@dataclass(frozen=True)
class Routing(ABC):
    """A joint distribution of the top-K experts of the successive tokens of a request or mini-batch.

    A token goes to the experts of the previous token with probability `reuse`, else to newly drawn ones. The
    distribution of each single token does not depend on `reuse`: a discrete autoregressive process of order 1 (Jacobs
    and Lewis, Journal of the Royal Statistical Society B 40(1), 1978).

    The reuse distance of an expert is the number of tokens from one use to the next. For an expert that a newly drawn
    token uses with probability q, and with p = (1 - reuse) q, it is d with probability

        reuse + p                                  for d = 1,
        (1 - reuse) (1 - q) (1 - p)^(d - 2) p      for d = 2, 3, ...

    With 8 of 64 experts for each token, drawn uniformly (q = 1/8), `reuse` of 0.4 gives a median of 2 tokens.
    """

    _: KW_ONLY
    reuse: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Temporal locality: probability that a token goes to the experts of the previous token of the same request or
    mini-batch; 0 makes tokens independent."""

    @abstractmethod
    def fresh(
        self, streams: Streams, tokens: int, per_token: int, experts: int, *entity: int | str, layer: Layer = ONLY
    ) -> Choices:
        """Draw the experts of independent tokens; arguments and errors as in `draw`."""

    def check(self, per_token: int, experts: int) -> None:
        """Check that tokens can go to `per_token` of `experts` experts. Raises ValueError if they cannot."""
        if per_token > experts:
            raise ValueError(f"a token cannot go to {per_token} of {experts} experts")

    def draw(
        self, streams: Streams, tokens: int, per_token: int, experts: int, *entity: int | str, layer: Layer = ONLY
    ) -> Choices:
        """Draw the experts of successive tokens in one layer.

        Args:
            streams: the run's random streams.
            tokens: number of tokens.
            per_token: number of experts of a token, at most `experts`.
            experts: number of experts of the layer.
            entity: names of the tokens, the number of the user first, then others such as that of the round; equal
                names give equal draws.
            layer: the layer, which has draws of its own; but a token that repeats the previous one does so in all.

        Raises:
            ValueError: the distribution does not fit the number of experts.
        """
        drawn = self.fresh(streams, tokens, per_token, experts, *entity, layer=layer)
        if not self.reuse:
            return drawn
        reused = streams.generator("reused experts", *entity).random(tokens) < self.reuse
        source = np.where(reused, 0, np.arange(tokens))  # token 0 has no previous one
        return drawn[np.maximum.accumulate(source)]

    def stand_in(
        self, streams: Streams, experts: int, *entity: int | str, layer: Layer = ONLY
    ) -> Callable[[Tensor], Tensor]:
        """A stand-in for the choice of a gate, to be passed to `User.read`.

        Args:
            streams: the run's random streams.
            experts: number of experts of the layer.
            entity: names of the tokens, as in `draw`.
            layer: the layer.

        Returns:
            A function of a meta tensor of shape (tokens, experts per token) that returns expert numbers of that shape,
            int64. It raises ValueError where a token is to go to more experts than there are.
        """

        def chosen(shape: Tensor) -> Tensor:
            tokens, per_token = shape.shape
            self.check(per_token, experts)
            return torch.from_numpy(self.draw(streams, tokens, per_token, experts, *entity, layer=layer))

        return chosen
