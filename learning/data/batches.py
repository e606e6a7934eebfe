"""Mini-batches by position: what a user trains on is a function of the position, never of what ran before."""

from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from hashlib import blake2b
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learning.data.dataset import Dataset
from learning.executor.deferred import Leaf
from learning.ports import Streams


@dataclass(frozen=True, eq=False)
class Rows(Leaf):
    """Some rows of one split of a data set, gathered when somebody computes with them.

    `indices` may have any shape; the tensor has that shape followed by the shape of one row. Equal content means equal.
    """

    dataset: Dataset = field(repr=False)
    split: Literal["train", "test"]
    field: Literal["x", "y"]
    indices: NDArray[np.int64]

    @property
    def name(self) -> tuple[object, ...]:
        """What equality and hash go by."""
        return self.dataset.fingerprint, self.split, self.field, self.indices.shape, self.indices.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    @cached_property
    def meta(self) -> Tensor:
        """Shape and dtype, without values."""
        source = self._source()
        return _without_values((*self.indices.shape, *source.shape[1:]), source.dtype)

    @property
    def identity(self) -> bytes:
        """A digest of data set, split, field and number of rows, and which rows."""
        source = _source_name(self.dataset.fingerprint, self.split, self.field, self.indices.shape)
        return source + self.indices.tobytes()

    def tensor(self) -> Tensor:
        """The rows."""
        source = self._source()
        chosen = source.index_select(0, torch.from_numpy(self.indices.reshape(-1)))
        return chosen.reshape(*self.indices.shape, *source.shape[1:])

    def _source(self) -> Tensor:
        split = self.dataset.train if self.split == "train" else self.dataset.test
        return split.x if self.field == "x" else split.y


@cache
def _without_values(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


@cache
def _source_name(*what: object) -> bytes:
    return blake2b(repr(what).encode(), digest_size=16).digest()


class Batches:
    """The endless sequence of a user's mini-batches.

    Epoch after epoch the user's samples are permuted by the stream ("shuffle", user, epoch). Mini-batch `position`
    begins at element position * batch_size of the concatenated epochs, so each has exactly `batch_size` samples and may
    span epochs. Raises ValueError if the user has no samples.
    """

    def __init__(
        self, dataset: Dataset, indices: NDArray[np.int64], user: int | str, streams: Streams, batch_size: int
    ) -> None:
        if not len(indices):
            raise ValueError(f"user {user} has no samples to train on")
        self.dataset, self.user, self.batch_size, self.samples = dataset, user, batch_size, len(indices)

        @lru_cache(maxsize=2)  # a batch touches the epoch in hand and perhaps the next
        def epoch(number: int) -> NDArray[np.int64]:
            return indices[streams.generator("shuffle", user, number).permutation(len(indices))]

        self._epoch = epoch

    def at(self, position: int) -> tuple[Rows, Rows]:
        """Samples (batch_size, *input_shape) and labels (batch_size,) of mini-batch number `position`, from 0."""
        return self.run(position * self.batch_size, self.batch_size)

    def stack(self, start: int, count: int) -> tuple[Rows, Rows]:
        """Mini-batches `start` to `start + count` in one: (count, batch_size, *input_shape) and (count, batch_size)."""
        elements = self._elements(start * self.batch_size, count * self.batch_size)
        return self._rows(elements.reshape(count, self.batch_size))

    def run(self, start: int, count: int) -> tuple[Rows, Rows]:
        """Elements `start` to `start + count` of the concatenated epochs, for mini-batches of changing size."""
        return self._rows(self._elements(start, count))

    def _elements(self, start: int, count: int) -> NDArray[np.int64]:
        lead, last = start // self.samples, start + count
        epochs = [self._epoch(number) for number in range(lead, (last - 1) // self.samples + 1)]
        return np.concatenate(epochs)[start - lead * self.samples : last - lead * self.samples]

    def _rows(self, indices: NDArray[np.int64]) -> tuple[Rows, Rows]:
        return Rows(self.dataset, "train", "x", indices), Rows(self.dataset, "train", "y", indices)
