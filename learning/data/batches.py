"""Mini-batches by position: the samples of a mini-batch depend on its position only, not on earlier training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import blake2b
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learning.data.dataset import Dataset, Split
from learning.data.modalities import Modalities
from learning.executor.deferred import Leaf
from learning.ports import Streams


class Chosen:
    """Row numbers that are drawn when they are needed: never, where no values are computed."""

    def __init__(self, shape: tuple[int, ...], draw: Callable[[], NDArray[np.int64]]) -> None:
        """`draw` returns the row numbers, an array of this shape."""
        self.shape, self._draw = shape, draw

    @cached_property
    def indices(self) -> NDArray[np.int64]:
        """The row numbers."""
        return self._draw()


@dataclass(frozen=True, eq=False)
class Rows(Leaf):
    """Rows of one split of a data set, which are gathered when an operation reads them.

    `indices` may have any shape; the tensor has that shape followed by the shape of one row. Objects with equal content
    are equal.
    """

    dataset: Dataset = field(repr=False)
    split: Literal["train", "test"]
    field: str
    """Name of the array: `x` or `y`, or with several modalities a key of `Split.arrays`."""
    chosen: NDArray[np.int64] | Chosen
    """The row numbers, or what draws them."""

    @property
    def indices(self) -> NDArray[np.int64]:
        """The row numbers."""
        return self.chosen.indices if isinstance(self.chosen, Chosen) else self.chosen

    @property
    def name(self) -> tuple[object, ...]:
        """The fields that equality and hash compare."""
        return self._split.fingerprint, self.field, self.indices.shape, self.indices.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    @cached_property
    def meta(self) -> Tensor:
        """Shape and dtype, without values."""
        source = self._split.arrays[self.field]
        return _without_values((*self.chosen.shape, *source.shape[1:]), source.dtype)

    @property
    def identity(self) -> bytes:
        """Digest of the split's content, the array, the shape of the row numbers, and the row numbers.

        The other split has no influence: what is learnt from the same training samples is the same on any test set.
        """
        source = _source_name(self._split.fingerprint, self.field, self.indices.shape)
        return source + self.indices.tobytes()

    def tensor(self) -> Tensor:
        """The values of the rows."""
        source = self._split.arrays[self.field]
        chosen = source.index_select(0, torch.from_numpy(self.indices.reshape(-1)))
        return chosen.reshape(*self.indices.shape, *source.shape[1:])

    @staticmethod
    def stacked(leaves: Sequence[Rows]) -> Tensor:
        """The values of several leaves of equal shape, gathered at once where they are of one array."""
        first = leaves[0]
        if any((leaf.dataset, leaf.split, leaf.field) != (first.dataset, first.split, first.field) for leaf in leaves):
            return Leaf.stacked(leaves)
        return Rows(first.dataset, first.split, first.field, np.stack([leaf.indices for leaf in leaves])).tensor()

    @property
    def _split(self) -> Split:
        return self.dataset.train if self.split == "train" else self.dataset.test


Inputs = Rows | Modalities
"""Samples of a mini-batch: rows of one array, or of one array per modality."""


def rows(
    dataset: Dataset,
    split: Literal["train", "test"],
    indices: NDArray[np.int64] | Chosen,
    held: Collection[str] | None = None,
) -> tuple[Inputs, Rows]:
    """Samples and labels of a mini-batch.

    Args:
        dataset: The data set.
        split: Name of the split.
        indices: Numbers of the rows, in any shape, or what draws them.
        held: With several modalities, those whose arrays are included (default: all); all presence masks are included.
    """
    y = Rows(dataset, split, "y", indices)
    if not dataset.modalities:
        return Rows(dataset, split, "x", indices), y
    values, present = (
        {name: Rows(dataset, split, f"{field}.{name}", indices) for name in dataset.modalities}
        for field in ("values", "present")
    )
    return Modalities({name: each for name, each in values.items() if held is None or name in held}, present), y


@cache
def _without_values(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


@cache
def _source_name(*what: object) -> bytes:
    return blake2b(repr(what).encode(), digest_size=16).digest()


Last = Literal["keep", "drop", "wrap"]
"""Treatment of the last mini-batch of an epoch if it is incomplete."""


class Batches:
    """The infinite sequence of a user's mini-batches: epoch after epoch, as from torch's `DataLoader` with shuffling.

    In each epoch the user's samples are permuted by the stream ("shuffle", user, epoch) and cut into mini-batches of
    `size` samples; None is all of them. What is left at the end of an epoch is a smaller mini-batch (`keep`), or left
    out (`drop`), or filled up from the epochs that follow (`wrap`). Samples are counted through the epochs put one
    after another, from 0. Of several modalities a mini-batch has the arrays of those that the user holds, which are
    the ones that any of its samples has, of those in `held` (default: all). Raises ValueError if the user has no
    samples, or under `drop` no whole mini-batch.

    `indices` are row numbers of `split`; samples of the test split are permuted by the stream ("shuffle test", ...).
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: NDArray[np.int64],
        user: int | str,
        streams: Streams,
        size: int | None,
        last: Last = "keep",
        split: Literal["train", "test"] = "train",
        held: Collection[str] | None = None,
    ) -> None:
        self.split: Literal["train", "test"] = split
        self.dataset, self.indices, self.user, self.streams = dataset, indices, user, streams
        self.size, self.last, self.samples = size, last, len(indices)
        if not self.samples:
            what = "to train on" if split == "train" else "of the test set"
            raise ValueError(f"user {user} has no samples {what}")
        self.batch_size = self.samples if size is None else size
        """Samples in a whole mini-batch."""
        if last == "drop" and self.batch_size > self.samples:
            raise ValueError(
                f"user {user} has {self.samples} samples, fewer than a mini-batch of {size}, and drop leaves none of "
                f"them; keep and wrap are allowed, or a smaller batch_size"
            )
        samples = dataset.train.x if split == "train" else dataset.test.x
        present = samples.present if isinstance(samples, Modalities) else {}
        some = [name for name, mask in present.items() if bool(mask[torch.from_numpy(indices)].any())]
        self.modalities = [name for name in some if held is None or name in held]
        """The modalities that the user holds; none where samples are one array."""
        whole, rest = divmod(self.samples, self.batch_size)
        self.per_epoch = whole if last == "drop" else whole + bool(rest)
        """Mini-batches in one pass over the samples."""
        self.largest = self.batch_size if last == "wrap" else min(self.batch_size, self.samples)
        """Samples in the first mini-batch of an epoch, which is the largest."""
        self._epochs: dict[int, NDArray[np.int64]] = {}

    @classmethod
    def pooled(cls, parts: Sequence[Batches]) -> Batches:
        """Mini-batches of the union of all users' samples, as if the first user had all, whatever the partition."""
        first, rows = parts[0], np.sort(np.concatenate([part.indices for part in parts]))
        return cls(first.dataset, rows, first.user, first.streams, first.size, first.last)

    def at(self, position: int) -> tuple[Inputs, Rows]:
        """Samples (size, *input_shape) and labels (size,) of mini-batch number `position`, from 0."""
        return self.run(self._span(position))

    def stack(self, positions: range) -> tuple[list[Inputs], list[Rows]]:
        """Stacks of consecutive mini-batches of equal size: (count, size, *input_shape) and (count, size).

        With ten samples and mini-batches of four, positions 0 to 2 give a stack of two of size 4 and one of size 2.
        """
        stacks = [self._stack(list(alike)) for _, alike in groupby(map(self._span, positions), key=len)]
        return [x for x, _ in stacks], [y for _, y in stacks]

    def _stack(self, spans: list[range]) -> tuple[Inputs, Rows]:
        """Samples and labels of mini-batches of equal size."""
        shape = len(spans), len(spans[0])
        return self._rows(Chosen(shape, lambda: np.stack([self._elements(span) for span in spans])))

    def sizes(self, positions: range) -> list[int]:
        """Samples in each of these mini-batches."""
        return [len(self._span(position)) for position in positions]

    def cut(self, start: int, size: int) -> range:
        """Samples of a mini-batch from `start`, if sizes change over time: `size`, or those left in the epoch."""
        if self.last == "wrap":
            return range(start, start + size)
        size, end = min(size, self.samples), start - start % self.samples + self.samples
        if start + size <= end:
            return range(start, start + size)
        return range(start, end) if self.last == "keep" else range(end, end + size)

    def run(self, samples: range) -> tuple[Inputs, Rows]:
        """Samples and labels at these positions of the concatenated epochs."""
        return self._rows(Chosen((len(samples),), lambda: self._elements(samples)))

    def _span(self, position: int) -> range:
        if self.last == "wrap":
            return self.cut(position * self.batch_size, self.batch_size)
        epoch, place = divmod(position, self.per_epoch)
        return self.cut(epoch * self.samples + place * self.batch_size, self.batch_size)

    def _epoch(self, number: int) -> NDArray[np.int64]:
        """Row numbers in the order of an epoch; two are kept, as a batch touches one epoch and perhaps the next."""
        if number not in self._epochs:
            if len(self._epochs) == 2:
                del self._epochs[min(self._epochs)]
            shuffle = "shuffle" if self.split == "train" else "shuffle test"
            order = self.streams.generator(shuffle, self.user, number).permutation(self.samples)
            self._epochs[number] = self.indices[order]
        return self._epochs[number]

    def _elements(self, span: range) -> NDArray[np.int64]:
        lead, start = span.start // self.samples, span.start % self.samples
        epochs = [self._epoch(number) for number in range(lead, (span.stop - 1) // self.samples + 1)]
        return np.concatenate(epochs)[start : start + len(span)]

    def _rows(self, chosen: Chosen) -> tuple[Inputs, Rows]:
        return rows(self.dataset, self.split, chosen, self.modalities)
