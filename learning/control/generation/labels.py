"""Label histograms that users have shared, and how unequal they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Reference = Literal["global", "uniform"]
"""Distribution of labels that a user's is compared with: that of all known samples, or the uniform one."""


def emd(histograms: ArrayLike, reference: ArrayLike) -> Floats:
    """Distance of label distributions from a reference, sum_c |n_c / sum n - pi_c|, from 0 to 2.

    It is the earth mover's distance of the federated learning literature (Zhao et al., arXiv 1806.00582). A user
    without samples has distance 0.

    Args:
        histograms: numbers of samples by class, (..., classes).
        reference: the distribution pi, (classes,).
    """
    counts = np.asarray(histograms, dtype=np.float64)
    samples = counts.sum(axis=-1, keepdims=True)
    shares = np.divide(
        counts, samples, out=np.broadcast_to(np.asarray(reference, np.float64), counts.shape).copy(), where=samples > 0
    )
    return np.asarray(np.abs(shares - reference).sum(axis=-1))


class SharedLabels:
    """The histograms that have arrived at the server.

    Args:
        classes: number of classes.
        reference: distribution with which those of the users are compared.
    """

    def __init__(self, classes: int, reference: Reference) -> None:
        self.classes, self._reference = classes, reference
        self._histograms: dict[int, Floats] = {}

    def add(self, user: int, histogram: ArrayLike) -> None:
        """Note the histogram (classes,) of the user with this number."""
        self._histograms[user] = np.asarray(histogram, dtype=np.float64)

    def __contains__(self, user: int) -> bool:
        return user in self._histograms

    def of(self, user: int) -> Floats:
        """The histogram of a user; zeros if it has not arrived."""
        return self._histograms.get(user, np.zeros(self.classes))

    @property
    def total(self) -> Floats:
        """Known samples by class, (classes,)."""
        return np.asarray(sum(self._histograms.values(), np.zeros(self.classes)))

    @property
    def reference(self) -> Floats:
        """The reference distribution, (classes,); uniform as long as no samples are known."""
        total = self.total
        if self._reference == "uniform" or not total.sum():
            return np.full(self.classes, 1 / self.classes)
        return np.asarray(total / total.sum())

    def emd(self, users: Sequence[int]) -> Floats:
        """Distance of each of these users, (users,); 0 where the histogram has not arrived."""
        return emd([self.of(user) for user in users], self.reference) if users else np.zeros(0)

    @property
    def mean_emd(self) -> float:
        """Mean distance of the known users, weighted by their samples; 0 if none is known."""
        total = self.total.sum()
        users = list(self._histograms)
        samples = np.array([self.of(user).sum() for user in users])
        return float(samples @ self.emd(users) / total) if total else 0.0
