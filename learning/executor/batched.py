"""The batched executor: when a value is demanded, everything that is ready and alike runs as one vectorised call."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor
from torch.func import vmap

from learning.executor.base import Executor, adopt, call, finish, operands
from learning.executor.deferred import Job

LARGEST_GROUP = 10
"""Jobs in one call. Stacks of 5 to 10 clients stay in a core's cache; larger ones cost memory and gain nothing."""

MOST_PENDING = 4096
"""Jobs accepted before all that is ready runs without being asked for: bounds the memory of the waiting graph."""


class Batched(Executor):
    """Groups jobs with the same operation, shapes and plain arguments, wherever in simulated time they were submitted.

    Grouping never decides a number: all tensors are stacked (also where users share one), a lone job is a stack of
    one, and what contains a convolution, whose kernels do depend on the stack, runs alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.groups: defaultdict[tuple[str, int], int] = defaultdict(int)
        """(operation name, group size) -> how many calls."""
        self._ready: defaultdict[tuple[Any, ...], list[ReferenceType[Job]]] = defaultdict(list)
        self._pending = 0

    def _accept(self, job: Job) -> None:
        if adopt(job):
            self._enqueue(job)
        self._pending += 1
        if self._pending > MOST_PENDING:
            self._flush()

    def _force(self, job: Job) -> None:
        climb = [job]
        while climb:
            if climb[-1].result is not None:
                climb.pop()
            elif climb[-1].waiting:
                climb.append(climb[-1].unfinished_parents()[0])
            else:
                self._run(self._group(climb[-1].key))

    def _flush(self) -> None:
        while self._ready:
            self._run(self._group(next(iter(self._ready))))
        self._pending = 0

    def _enqueue(self, job: Job) -> None:
        self._ready[job.key].append(ref(job))

    def _group(self, key: tuple[Any, ...]) -> list[Job]:
        """All living jobs of a key that are ready, in the order in which they became so."""
        return [job for reference in self._ready.pop(key) if (job := reference()) is not None]

    def _run(self, jobs: list[Job]) -> None:
        for start in range(0, len(jobs), LARGEST_GROUP):
            group = jobs[start : start + LARGEST_GROUP]
            for job, result in zip(group, self._results(group), strict=True):
                for child in finish(job, result):
                    self._enqueue(child)
        self.run += len(jobs)

    def _results(self, group: list[Job]) -> list[list[Tensor]]:
        first = group[0]
        alone = self._profiles[first.key].convolves
        self.groups[first.operation.__name__, 1 if alone else len(group)] += len(group) if alone else 1
        if alone:
            return [call(job, operands(job)) for job in group]
        columns = list(zip(*(operands(job) for job in group), strict=True))
        moves = [isinstance(column[0], Tensor) for column in columns]

        def one(*moving: Tensor) -> tuple[Tensor, ...]:
            rest = iter(moving)
            return tuple(call(first, [next(rest) if m else c[0] for c, m in zip(columns, moves, strict=True)]))

        stacked = [torch.stack(column) for column, m in zip(columns, moves, strict=True) if m]
        out = vmap(one, randomness="error")(*stacked)
        return [list(row) for row in zip(*(tensor.unbind() for tensor in out), strict=True)]
