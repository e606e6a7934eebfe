"""The batched executor: when a value is read, all ready operations with equal shapes run as one vectorised call."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import vmap

from learning.executor.base import aligned, call, operands
from learning.executor.deferred import Job
from learning.executor.graph import LazyExecutor

if TYPE_CHECKING:
    from learning.store import Store

LARGEST_GROUP = 10
"""Jobs in one vectorised call. Stacks of 5 to 10 users stay in a core's cache; larger ones cost memory and gain no
speed."""


class Batched(LazyExecutor):
    """Groups jobs with the same operation, shapes and plain arguments, at whatever simulated time they were submitted.

    No bit of a value depends on the group that it was computed in. All tensors are stacked (one that several jobs
    share, without copies). A single job is a stack of one; where it multiplies a matrix and a vector, for which torch
    has another kernel if there is but one pair, it is a stack of two equal jobs. Operations with convolutions, whose
    kernels do depend on the stack, run alone. All this requires reproducible matrix products
    (`learning.executor.reproducible`) and one torch thread, which a run sets: with more, a product is divided among
    them by its size.
    """

    def __init__(self, store: Store | None = None) -> None:
        super().__init__(store)
        self.groups: defaultdict[tuple[str, int], int] = defaultdict(int)
        """(operation name, group size) -> how many calls."""

    def _run(self, jobs: list[Job]) -> None:
        for start in range(0, len(jobs), LARGEST_GROUP):
            group = jobs[start : start + LARGEST_GROUP]
            for job, result in zip(group, self._results(group), strict=True):
                self._finish(job, result)
        self.run += len(jobs)

    def _results(self, group: list[Job]) -> list[list[Tensor]]:
        first = group[0]
        profile, name = self._profiles[first.key], first.operation.__name__
        if profile.convolves:
            self.groups[name, 1] += len(group)
            return [call(job, map(aligned, operands(job))) for job in group]
        self.groups[name, len(group)] += 1
        return self._stack(group * 2 if profile.thin and len(group) == 1 else group)[: len(group)]

    def _stack(self, group: list[Job]) -> list[list[Tensor]]:
        first = group[0]
        columns = list(zip(*(operands(job) for job in group), strict=True))
        moves = [isinstance(column[0], Tensor) for column in columns]

        def one(*moving: Tensor) -> tuple[Tensor, ...]:
            rest = iter(moving)
            return tuple(call(first, [next(rest) if m else c[0] for c, m in zip(columns, moves, strict=True)]))

        stacked = [_stacked(column) for column, m in zip(columns, moves, strict=True) if m]
        out = vmap(one, randomness="error")(*stacked)
        return [list(row) for row in zip(*(tensor.unbind() for tensor in out), strict=True)]


def _stacked(column: tuple[Tensor, ...]) -> Tensor:
    """The operands of all jobs as one tensor; what several jobs share, such as a frozen backbone, is not copied."""
    first: Tensor = aligned(column[0])
    if len(column) > 1 and all(operand is column[0] for operand in column):
        return first.expand(len(column), *first.shape)
    return torch.stack(column)
