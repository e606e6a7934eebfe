"""Worker processes: captured operations on several groups of jobs at once, one torch thread in each process.

Workers are forked, and so have the captured operations. Operands and results cross in memory that is shared; a message
is the number of an operation. A worker computes what this process would, so no bit depends on how many there are; the
work of one that dies is done here.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import socket
from collections.abc import Hashable, Sequence
from contextlib import suppress
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from learning.executor.base import ALIGNMENT_BYTES
from learning.executor.capture import Kernels

NUMBER_BYTES = 4
"""Length of a message to a worker; its answer is one byte."""


class Layout(NamedTuple):
    """How a tensor lies in memory; along an axis of stride 0 it has one element."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype)

    @property
    def dense(self) -> bool:
        """Whether what is stored has no gaps."""
        reach = sum((length - 1) * stride for length, stride in zip(self.stored, self.stride, strict=True))
        return reach < max(1, prod(self.stored))

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of what is stored."""
        return tuple(1 if stride == 0 else length for length, stride in zip(self.shape, self.stride, strict=True))

    @property
    def bytes(self) -> int:
        """Size of what is stored, up to the next aligned address."""
        size = prod(self.stored) * self.dtype.itemsize
        return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


class Operation(NamedTuple):
    """A captured operation, and the layouts of its operands and results."""

    kernels: Kernels
    operands: list[Layout]
    results: list[Layout]

    @classmethod
    def of(cls, kernels: Kernels, operands: Sequence[Tensor], results: Sequence[Tensor]) -> Operation | None:
        """The operation with tensors as an example of their layouts; None if one of them has gaps in memory."""
        operation = cls(kernels, [Layout.of(each) for each in operands], [Layout.of(each) for each in results])
        return operation if all(layout.dense for layout in (*operation.operands, *operation.results)) else None


class _Worker:
    """A process that computes operations, by number, on operands in its part of the shared memory."""

    def __init__(self, operations: Sequence[Operation], others: Sequence[_Worker]) -> None:
        size = max(sum(layout.bytes for layout in (*o.operands, *o.results)) for o in operations)
        memory = mmap.mmap(-1, size)
        self.operands, self.results = [], []
        for operation in operations:
            tensors = tensors_in(memory, [*operation.operands, *operation.results])
            self.operands.append(tensors[: len(operation.operands)])
            self.results.append(tensors[len(operation.operands) :])
        self.line, far = socket.socketpair()
        try:
            self.process = os.fork()
        except OSError:
            self.line.close()
            far.close()
            raise
        if not self.process:
            self._serve(far, [operation.kernels for operation in operations], [self, *others])
        far.close()

    def _serve(self, line: socket.socket, kernels: Sequence[Kernels], inherited: Sequence[_Worker]) -> None:
        """Compute until the line is closed; an error ends the process, and is raised where the work is done again."""
        try:
            for worker in inherited:
                worker.line.close()  # else it stays open when the process that started this one is no more
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the process that started this one
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            while message := line.recv(NUMBER_BYTES, socket.MSG_WAITALL):
                number = int.from_bytes(message, "little")
                for place, result in zip(self.results[number], kernels[number](*self.operands[number]), strict=True):
                    place.copy_(result)
                line.send(b"1")
        finally:
            os._exit(0)


class Workers:
    """Processes that compute captured operations, beside this one."""

    def __init__(self, count: int) -> None:
        """`count` is the number of processes; they are started when there is an operation for them.

        Raises ValueError where the system cannot fork processes.
        """
        if count and not hasattr(os, "fork"):
            raise ValueError(f"{count + 1} is not possible: this system cannot fork processes; 1 and auto are allowed")
        self.count = count
        self._numbers: dict[Hashable, int] = {}
        self._operations: list[Operation] = []
        self._running: list[_Worker | None] = []
        """By place; None for one that has died, or could not be started."""
        self._outdated = False
        """Whether there are operations that those running do not know. They may be at work, and so they go on."""

    def teach(self, key: Hashable, kernels: Kernels, operands: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """Make an operation known by a key, with operands and results as an example of their layouts.

        One whose operands have gaps in memory stays unknown.
        """
        operation = Operation.of(kernels, operands, results)
        if operation is not None:
            self._numbers[key] = len(self._operations)
            self._operations.append(operation)
            self._outdated = True

    def begin(self, place: int, key: Hashable, operands: Sequence[Tensor]) -> bool:
        """Let worker `place` compute an operation; returns False if it does not know it, or is no more."""
        number = self._numbers.get(key)
        if number is None:
            return False
        if self._outdated:
            self.close()
            self._outdated = False
        while len(self._running) < self.count:
            self._running.append(self._started())
        worker = self._running[place]
        if worker is None:
            return False
        for target, operand in zip(worker.operands[number], operands, strict=True):
            stored_part(target).copy_(stored_part(operand))
        try:
            worker.line.sendall(number.to_bytes(NUMBER_BYTES, "little"))
        except OSError:
            self._bury(place)
        return self._running[place] is not None

    def results(self, place: int, key: Hashable) -> list[Tensor] | None:
        """Wait for the results of what `begin` began; None if the worker has died."""
        worker = self._running[place]
        assert worker is not None
        try:
            answered = worker.line.recv(1)
        except OSError:
            answered = b""
        if not answered:
            self._bury(place)
            return None
        return [result.clone() for result in worker.results[self._numbers[key]]]

    def close(self) -> None:
        """End all processes."""
        for place, worker in enumerate(self._running):
            if worker is not None:
                self._bury(place)
        self._running = []

    def _started(self) -> _Worker | None:
        """A new worker; None if the system has no memory or no process left for it."""
        with suppress(OSError):
            return _Worker(self._operations, [each for each in self._running if each])
        return None

    def _bury(self, place: int) -> None:
        worker = self._running[place]
        assert worker is not None
        worker.line.close()
        with suppress(ProcessLookupError):
            os.kill(worker.process, signal.SIGKILL)  # it holds nothing, and may be at work that no one waits for
        with suppress(ChildProcessError):  # where a program has its children waited for elsewhere
            os.waitpid(worker.process, 0)
        self._running[place] = None


def one_for_each_core() -> int:
    """Processes for all cores that this process may use: 1 where it was itself started as one of several ones."""
    if multiprocessing.parent_process() is not None or not hasattr(os, "fork"):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tensors_in(memory: mmap.mmap, layouts: Sequence[Layout]) -> list[Tensor]:
    """Tensors of these layouts in shared memory, one behind another."""
    tensors, offset = [], 0
    for layout in layouts:
        if prod(layout.stored):
            flat = torch.frombuffer(memory, dtype=layout.dtype, count=prod(layout.stored), offset=offset)
        else:
            flat = torch.empty(0, dtype=layout.dtype)
        tensors.append(flat.as_strided(layout.shape, layout.stride))
        offset += layout.bytes
    return tensors


def stored_part(tensor: Tensor) -> Tensor:
    """One element along each axis of stride 0, on which all elements share their memory."""
    for axis, stride in enumerate(tensor.stride()):
        if stride == 0:
            tensor = tensor.narrow(axis, 0, min(1, tensor.shape[axis]))
    return tensor
