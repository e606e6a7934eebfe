"""The batched executor: when a value is read, all ready operations with equal shapes run as one vectorised call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from torch.func import vmap

from learning.executor.base import aligned, call, operands
from learning.executor.capture import Kernels, NotCapturable, capture
from learning.executor.deferred import Job
from learning.executor.graph import LazyExecutor
from learning.executor.stacks import Row, Stack, in_order_of_rows, stacked

if TYPE_CHECKING:
    from learning.store import Store

LARGEST_GROUP = 10
"""Jobs in one vectorised call. Stacks of 5 to 10 users stay in a core's cache; larger ones cost memory and gain no
speed."""
CAPTURED_CALL = 4
"""Which call of an operation on the same shapes is captured. A capture takes as long as three or four calls, so it does
not pay for an operation that is called a few times only."""


class Batched(LazyExecutor):
    """Groups jobs with the same operation, shapes and plain arguments, at whatever simulated time they were submitted.

    No bit of a value depends on the group that it was computed in. All tensors are stacked (one that several jobs
    share, without copies). A single job is a stack of one; where it multiplies a matrix and a vector, for which torch
    has another kernel if there is but one pair, it is a stack of two equal jobs. Operations with convolutions, whose
    kernels do depend on the stack, run alone. All this requires reproducible matrix products
    (`learning.executor.reproducible`) and one torch thread, which a run sets: with more, a product is divided among
    them by its size.

    Calls that are repeated are captured (`learning.executor.capture`), which changes no bit.
    """

    def __init__(self, store: Store | None = None) -> None:
        super().__init__(store)
        self.groups: defaultdict[tuple[str, int], int] = defaultdict(int)
        """(operation name, group size) -> how many calls."""
        self.captured = 0
        """Calls so far that were a captured operation's kernels alone."""
        self._stacks = 0
        self._calls: dict[Hashable, int | Kernels] = {}
        """By key, jobs and strides of the operands: calls so far, or the captured operation."""

    def _run(self, jobs: list[Job]) -> None:
        jobs = in_order_of_rows(jobs)
        for start in range(0, len(jobs), LARGEST_GROUP):
            group = jobs[start : start + LARGEST_GROUP]
            for job, result in zip(group, self._results(group), strict=True):
                self._finish(job, result)
        self.run += len(jobs)

    def _results(self, group: list[Job]) -> Sequence[Sequence[Tensor]]:
        first = group[0]
        profile, name = self._profiles[first.key], first.operation.__name__
        if profile.convolves:
            self.groups[name, 1] += len(group)
            return [self._alone(job) for job in group]
        self.groups[name, len(group)] += 1
        stack = self._stack(group * 2 if profile.thin and len(group) == 1 else group)
        return [Row(stack, place) for place in range(len(group))]

    def _alone(self, job: Job) -> list[Tensor]:
        given = [aligned(operand) for operand in operands(job)]
        tensors = [operand for operand in given if isinstance(operand, Tensor)]

        def one(*tensors: Tensor) -> list[Tensor]:
            rest = iter(tensors)
            return call(job, [next(rest) if isinstance(operand, Tensor) else operand for operand in given])

        return [result.contiguous() for result in self._computed((job.key, None), one, tensors)]

    def _stack(self, group: list[Job]) -> Stack:
        first = group[0]
        columns = [(column[0], stacked(column)) for column in zip(*(job.leaves for job in group), strict=True)]

        def one(*rows: Tensor) -> tuple[Tensor, ...]:
            rest, flat = iter(rows), []
            for plain, tensors in columns:
                flat += [plain] if tensors is None else [next(rest) for _ in tensors]
            return tuple(call(first, flat))

        together = [tensor for _, tensors in columns for tensor in tensors or ()]
        results = self._computed((first.key, len(group)), vmap(one, randomness="error"), together)
        self._stacks += 1
        return Stack(
            self._stacks, len(group), [result.contiguous() for result in results]
        )  # as the store would give it back

    def _computed(
        self, key: Hashable, function: Callable[..., Sequence[Tensor]], tensors: list[Tensor]
    ) -> Sequence[Tensor]:
        """The results of a pure function that is the same for equal keys, from its captured kernels if it has some."""
        key = key, *(tensor.stride() for tensor in tensors)
        known = self._calls.get(key, 0)
        if not isinstance(known, int):
            self.captured += 1
            return known(*tensors)
        self._calls[key] = known + 1
        if known + 1 == CAPTURED_CALL:
            try:
                results, self._calls[key] = capture(function, tensors)
                return results
            except NotCapturable:
                pass  # it is called as before
        return function(*tensors)
