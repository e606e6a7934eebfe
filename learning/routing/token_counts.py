"""Counts of the experts that tokens of a vocabulary went to, and draws from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from learning.routing.routing import Choices

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """How often each token of a vocabulary went to each expert of a layer, in a text of which each token went to K.

    Experts are drawn jointly by systematic sampling in random order (Madow, Annals of Mathematical Statistics 20(3),
    1949): a token that was seen n times, on c of which it went to expert e, goes to e with probability c / n exactly,
    and to K distinct experts.
    """

    experts: Integers
    """Number of the expert of each count, by ascending token, (counts,)."""
    counts: Integers
    """The counts, (counts,)."""
    ends: Integers
    """Number of counts up to and with those of each token, (tokens of the vocabulary,)."""
    per_token: int
    """Number of experts of a token, K."""

    @classmethod
    def of(cls, tokens: Integers, experts: Integers, counts: Integers, per_token: int | None = None) -> TokenCounts:
        """Build it from a table of counts.

        Args:
            tokens: number of the token in the vocabulary, (rows,); zeros if only the counts of experts are known.
            experts: number of the expert, from 0, (rows,).
            counts: how often the token went to the expert, (rows,).
            per_token: number of experts of a token, K; None is the largest number that fits the counts, which is K if
                some token was seen once.

        Raises:
            ValueError: these are no counts of tokens that each went to K distinct experts.
        """
        order = np.lexsort((experts, tokens))
        tokens, experts, counts = tokens[order], experts[order], counts[order]
        starts = np.flatnonzero(np.diff(tokens, prepend=-1))
        totals, ends = np.add.reduceat(counts, starts), np.append(starts[1:], len(tokens))
        total = np.repeat(totals, np.diff(ends, prepend=0))  # of the token of each count
        twice = ((np.diff(tokens) == 0) & (np.diff(experts) == 0)).any()
        different = int(np.diff(ends, prepend=0).min())
        largest = min(int(np.gcd.reduce(totals)), different) if per_token is None else per_token
        for top_k in range(largest, 0 if per_token is None else per_token - 1, -1):
            if not twice and (counts >= 0).all() and (totals % top_k == 0).all() and (counts * top_k <= total).all():
                return cls(experts, counts, ends, top_k)
        raise ValueError(f"these are no counts of tokens that each went to {per_token or 'some'} distinct experts")

    @cached_property
    def occurrences(self) -> Integers:
        """How often each token was seen, (tokens of the vocabulary,)."""
        starts = np.append(0, self.ends[:-1])
        return np.add.reduceat(self.counts, starts) // self.per_token

    @cached_property
    def _seen(self) -> Integers:
        return self.occurrences.cumsum()

    def tokens(self, generator: np.random.Generator, number: int) -> Integers:
        """Draw tokens as often as they were seen; returns their positions in the vocabulary, (number,)."""
        return np.searchsorted(self._seen, generator.integers(self._seen[-1], size=number), side="right")

    def choices(self, generator: np.random.Generator, tokens: Integers, experts: int) -> Choices:
        """Draw the experts, of `experts`, of tokens by their positions in the vocabulary: (tokens, K)."""
        # Experts are laid end to end, each as long as its count, with a point in every `occurrences`.
        order = generator.random((len(tokens), experts)).argsort(axis=-1)
        occurrences = self.occurrences[tokens]
        first = generator.integers(occurrences)
        points = first[:, None] + occurrences[:, None] * np.arange(self.per_token)
        ends = np.take_along_axis(self._rows(tokens, experts), order, -1).cumsum(-1)
        return np.take_along_axis(order, (ends[:, None, :] <= points[:, :, None]).sum(-1), -1)

    def _rows(self, tokens: Integers, experts: int) -> Integers:
        """Counts of these tokens: (tokens, experts)."""
        starts, ends = np.append(0, self.ends[:-1])[tokens], self.ends[tokens]
        lengths = ends - starts
        places = np.arange(lengths.sum()) + np.repeat(ends - lengths.cumsum(), lengths)
        table = np.zeros((len(tokens), experts), dtype=np.int64)
        table[np.repeat(np.arange(len(tokens)), lengths), self.experts[places]] = self.counts[places]
        return table
