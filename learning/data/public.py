"""Public data: training samples that no user has, with which the server prepares what it works with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learning.data.dataset import Dataset
from learning.data.selection import balanced_order
from learning.ports import Streams


@dataclass(frozen=True, eq=False)
class PublicData:
    """The public part of a data set's training samples."""

    dataset: Dataset
    """The data set."""
    indices: NDArray[np.int64]
    """Row numbers of the public training samples, ascending, (n,)."""
    streams: Streams
    """Random streams for what is prepared from them before a run. The scenario's seed has no influence on them, so that
    runs with different seeds share it."""

    def rows_by_class(self) -> list[NDArray[np.int64]]:
        """Row numbers of the samples of each class, ascending. Raises ValueError if a class has none."""
        labels = self.dataset.train.y.numpy()[self.indices]
        rows = [self.indices[labels == label] for label in range(self.dataset.classes)]
        if missing := [label for label, own in enumerate(rows) if not len(own)]:
            raise ValueError(f"the public data have no sample of class {missing[0]}; raise public_fraction")
        return rows


def public_rows(dataset: Dataset, fraction: float) -> NDArray[np.int64]:
    """Row numbers of the training samples that are public, ascending; they do not depend on the seed of a run.

    Args:
        dataset: the data set; each of its classes or sources has its share of the public samples, to within one.
        fraction: fraction of the training samples that is public.

    Raises:
        ValueError: every token has a label, and sources are not known.
    """
    if dataset.groups is None and dataset.train.y.ndim > 1:
        raise ValueError(f"samples of {dataset.name} have neither one class each nor known sources; 0 is allowed")
    kinds = dataset.kinds.numpy()
    return np.sort(balanced_order(kinds, f"{dataset.name} public")[: round(fraction * len(kinds))])
