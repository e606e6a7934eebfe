"""Workers on a Ray cluster: captured operations on several groups of jobs at once, on one machine or several.

A worker is a Ray actor with one core and one torch thread. It gets the kernels of an operation once, as text, and for
each group the bytes of its operands. It computes what this process would, so no bit depends on how many there are; the
work of one that dies is done here. All machines need the same versions and the same instruction set.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learning.executor.allocator import keep_freed_memory
from learning.executor.base import CPU
from learning.executor.capture import Kernels
from learning.executor.identity import surroundings
from learning.executor.workers import Layout, Operation, stored_part

Bytes = NDArray[np.uint8]


def ray_package() -> Any:
    """The package ray. Raises ValueError if it is not installed."""
    try:
        return import_module("ray")
    except ImportError:
        raise ValueError("the engine ray needs the package ray; install netsim-learning[ray]") from None


def connect(ray: Any, cores: int | None) -> None:
    """Connect to the cluster named by RAY_ADDRESS, else start one of so many cores (default: all) on this machine."""
    if not ray.is_initialized():
        own = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": cores}
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False, **own)


class RemoteWorkers:
    """Ray actors that compute captured operations, beside this process; the methods are those of `Workers`."""

    def __init__(self, count: int | None) -> None:
        """`count` is the number of actors, at least one; None is one for each core of the cluster but one.

        Raises ValueError if Ray is missing, the cluster has too few cores, or a machine of it would compute other bits.
        """
        self._ray = ray_package()
        connect(self._ray, count)
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        self.count = max(cores - 1, 1) if count is None else count
        if self.count > cores:
            raise ValueError(f"{self.count + 1} needs {self.count} cores of the Ray cluster, and it has {cores}")
        self._numbers: dict[Hashable, int] = {}
        self._operations: list[Operation] = []
        self._actors: list[Any] = []
        """By place; None for one that has died."""
        self._taught: list[int] = []
        """By place, how many operations an actor knows."""
        self._begun: dict[int, Any] = {}
        """By place, what an actor is to return."""

    def teach(self, key: Hashable, kernels: Kernels, operands: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """As `Workers.teach`."""
        operation = Operation.of(kernels, operands, results)
        if operation is not None:
            self._numbers[key] = len(self._operations)
            self._operations.append(operation)

    def begin(self, place: int, key: Hashable, operands: Sequence[Tensor]) -> bool:
        """As `Workers.begin`."""
        number = self._numbers.get(key)
        if number is None:
            return False
        if not self._actors:
            self._start()
        actor = self._actors[place]
        if actor is None:
            return False
        for operation in self._operations[self._taught[place] :]:  # messages to an actor arrive in order
            actor.learn.remote(operation)
        self._taught[place] = len(self._operations)
        self._begun[place] = actor.compute.remote(number, [packed(stored_part(each)) for each in operands])
        return True

    def results(self, place: int, key: Hashable) -> list[Tensor] | None:
        """As `Workers.results`."""
        try:
            found = self._ray.get(self._begun.pop(place))
        except self._ray.exceptions.RayError:
            self._actors[place] = None
            return None
        layouts = self._operations[self._numbers[key]].results
        return [unpacked(each, layout) for each, layout in zip(found, layouts, strict=True)]

    def close(self) -> None:
        """End all actors; the connection to the cluster stays."""
        for actor in self._actors:
            if actor is not None:
                self._ray.kill(actor)
        self._actors, self._taught, self._begun = [], [], {}

    def _start(self) -> None:
        remote = self._ray.remote(num_cpus=1, max_restarts=0)(Computer)
        self._actors = [remote.remote() for _ in range(self.count)]
        self._taught = [0] * self.count
        here = surroundings("", CPU)
        if any(there != here for there in self._ray.get([actor.surroundings.remote() for actor in self._actors])):
            self.close()
            raise ValueError(
                "a machine of the Ray cluster has another instruction set, or other versions of Python or "
                "torch, than this one, and would compute other bits"
            )


class Computer:
    """The actor: it computes operations by number, in the order in which it has learned them."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        keep_freed_memory()
        self._operations: list[Operation] = []

    def surroundings(self) -> bytes:
        """What the bits of this process depend on."""
        return surroundings("", CPU)

    def learn(self, operation: Operation) -> None:
        """Get to know the next operation."""
        self._operations.append(operation)

    def compute(self, number: int, operands: Sequence[Bytes]) -> list[Bytes]:
        """The results of an operation, in bytes as its operands."""
        kernels, layouts, _ = self._operations[number]
        given = [unpacked(each, layout) for each, layout in zip(operands, layouts, strict=True)]
        return [packed(each) for each in kernels(*given)]


def packed(tensor: Tensor) -> Bytes:
    """The bytes of the numbers of a tensor, in order."""
    found: Bytes = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return found


def unpacked(found: Bytes, layout: Layout) -> Tensor:
    """A tensor of a layout, in memory of its own, from the bytes of what is stored of it."""
    numbers = torch.empty(found.size // layout.dtype.itemsize, dtype=layout.dtype)
    numbers.view(torch.uint8).numpy()[:] = found
    tensor = torch.empty_strided(layout.shape, layout.stride, dtype=layout.dtype)
    stored_part(tensor).copy_(numbers.reshape(layout.stored))
    return tensor
