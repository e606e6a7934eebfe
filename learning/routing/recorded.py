"""Recorded routing: the experts that a real model chose for each token of its vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learning.ports import Streams
from learning.routing.routing import Choices, Routing


@dataclass(frozen=True, eq=False)
class RecordedRouting(Routing):
    """Draws tokens as often as they were recorded, then experts with the recorded probabilities given the token.

    A token of the vocabulary that was seen n times and went to expert e on c of these occasions goes to e with
    probability c / n, exactly. Its experts are drawn jointly by systematic sampling in random order (Madow, Annals of
    Mathematical Statistics 20(3), 1949), so that they are distinct. Counts hold no order of tokens, hence no
    temporal locality; `reuse` adds it.
    """

    counts: NDArray[np.int64]
    """How often each token of the vocabulary went to each expert: (tokens of the vocabulary, experts)."""
    per_token: int
    """Number of experts of a token, K; the sum of a row is K times the number of its occurrences."""
    layer: int = 0
    """Number of the layer. Layers with counts of the same text, in the same order of tokens, draw the same tokens."""

    def __post_init__(self) -> None:
        occurrences, rest = np.divmod(self.counts.sum(1), self.per_token)
        if (self.counts < 0).any() or rest.any() or (self.counts > occurrences[:, None]).any():
            raise ValueError(f"these are no counts of tokens that each went to {self.per_token} distinct experts")

    @classmethod
    def of(
        cls,
        tokens: NDArray[np.int64],
        chosen: NDArray[np.int64],
        counts: NDArray[np.int64],
        *,
        experts: int,
        per_token: int,
        layer: int,
    ) -> RecordedRouting:
        """Build it from a table of counts, such as the rows of one model, text and layer.

        Args:
            tokens: number of the token in its vocabulary, (rows,); zeros if only the counts of experts are known.
            chosen: number of the expert, from 0, (rows,).
            counts: how often the token went to the expert, (rows,).
            experts: number of experts of the layer.
            per_token: number of experts of a token.
            layer: number of the layer.
        """
        vocabulary, rows = np.unique(tokens, return_inverse=True)
        table = np.zeros((len(vocabulary), experts), dtype=np.int64)
        np.add.at(table, (rows, chosen), counts)
        return cls(table, per_token, layer)

    def fresh(self, streams: Streams, tokens: int, per_token: int, experts: int, *entity: int) -> Choices:
        if (per_token, experts) != (self.per_token, self.counts.shape[1]):
            raise ValueError(
                f"tokens are to go to {per_token} of {experts} experts, but the recorded ones went to {self.per_token} "
                f"of {self.counts.shape[1]}"
            )
        occurrences = self.counts.sum(1) // self.per_token
        place = streams.generator("recorded tokens", *entity).integers(occurrences.sum(), size=tokens)
        rows = np.searchsorted(occurrences.cumsum(), place, side="right")
        # Madow's sample: experts laid end to end, each as long as its count, and a point in every `occurrences`.
        generator = streams.generator("routing", *entity, self.layer)
        order = generator.random((tokens, experts)).argsort(axis=-1)
        first = generator.integers(occurrences[rows])
        points = first[:, None] + occurrences[rows, None] * np.arange(per_token)
        ends = np.take_along_axis(self.counts[rows], order, -1).cumsum(-1)
        return np.take_along_axis(order, (ends[:, None, :] <= points[:, :, None]).sum(-1), -1)
