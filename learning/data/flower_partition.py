"""Partitions by the partitioners of Flower Datasets."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning.ports import Streams

Integers = NDArray[np.int64]
Scalar = bool | int | float | str
ROW, KIND = "row", "label"
"""Columns of the data set that a partitioner is given: number of the sample, and its class or source."""


@dataclass(frozen=True)
class FlowerPartition:
    """A partitioner of Flower Datasets, by its name; needs the extra netsim-learning[flower-datasets].

    It divides samples by their classes, or by their sources where the data have some. Its seed is drawn from that of
    the partition, unless it is given.
    """

    partitioner: str
    """Class of `flwr_datasets.partitioner`, as in `PathologicalPartitioner`."""

    settings: dict[str, Scalar] = field(default_factory=dict, hash=False)
    """Its arguments, as in `num_classes_per_partition: 2`; `num_partitions` and `partition_by` need not be given."""

    def split(self, labels: Integers, users: int, streams: Streams) -> list[Integers]:
        """Row numbers of each user, ascending, as the partitioner gives them.

        Raises ValueError where Flower Datasets is not installed or has no such partitioner, where an argument is not
        one of its own or is refused, and where it makes another number of partitions, or one without samples.
        """
        datasets, partitioners = _library()
        made = self._partitioner(partitioners, users, streams)
        made.dataset = datasets.Dataset.from_dict({ROW: np.arange(len(labels)), KIND: labels})
        try:
            if made.num_partitions != users:
                raise ValueError(f"it makes {made.num_partitions} partitions for {users} users")
            parts = [np.sort(np.array(made.load_partition(user)[ROW], dtype=np.int64)) for user in range(users)]
        except (ValueError, IndexError, KeyError) as problem:
            raise ValueError(f"{self.partitioner} cannot divide the samples: {problem}") from problem
        for user, part in enumerate(parts):
            if not len(part):
                raise ValueError(f"{self.partitioner} leaves user {user} without samples")
        return parts

    def _partitioner(self, partitioners: Any, users: int, streams: Streams) -> Any:
        known = [name for name in partitioners.__all__ if name != "Partitioner"]
        if self.partitioner not in known:
            raise ValueError(f"Flower Datasets has no {self.partitioner}{_nearest(self.partitioner, known)}")
        kind = getattr(partitioners, self.partitioner)
        allowed = signature(kind).parameters
        for name in self.settings:
            if name not in allowed:
                raise ValueError(f"{self.partitioner} has no argument {name}{_nearest(name, list(allowed))}")
        seed = int(streams.generator("partition", "flower").integers(2**31))
        usual = {"num_partitions": users, "partition_by": KIND, "seed": seed}
        arguments = {name: value for name, value in usual.items() if name in allowed} | self.settings
        try:
            return kind(**arguments)
        except (TypeError, ValueError) as problem:
            raise ValueError(f"{self.partitioner} refuses its arguments: {problem}") from problem


def _nearest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known)}"


def _library() -> tuple[Any, Any]:
    try:
        return import_module("datasets"), import_module("flwr_datasets.partitioner")
    except ImportError as problem:
        raise ValueError(
            "partitioners of Flower Datasets need it: pip install 'netsim-learning[flower-datasets]'"
        ) from problem
