"""The batched executor: when a value is read, all ready operations with equal shapes run as one vectorised call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from learning.executor.base import CPU, aligned, call, operands
from learning.executor.capture import Kernels, capture
from learning.executor.deferred import Job
from learning.executor.graph import LazyExecutor
from learning.executor.kernels import NotCapturable
from learning.executor.stacks import Row, Stack, in_order_of_rows, stacked
from learning.executor.workers import Workers

if TYPE_CHECKING:
    from learning.executor.remote import RemoteWorkers
    from learning.store import Store

LARGEST_GROUP = 10
"""Jobs in one vectorised call. Stacks of 5 to 10 users stay in a core's cache; larger ones cost memory and gain no
speed."""
DIVIDED_FLOPS = 1e9
"""FLOPs of like jobs from which on processes share them. Of fewer, what was given away took as long as it saved: copies
of operands and results, and rows that lie in several stacks."""
CAPTURED_CALL = 4
"""Which call of an operation on the same shapes is captured. A capture takes as long as four or five calls, so it does
not pay for an operation that is called a few times only."""


class Batched(LazyExecutor):
    """Groups jobs with the same operation, shapes and plain arguments, at whatever simulated time they were submitted.

    No bit of a value depends on the group that it was computed in. All tensors are stacked (one that several jobs
    share, without copies). A single job is a stack of one; where it multiplies a matrix and a vector, for which torch
    has another kernel if there is but one pair, it is a stack of two equal jobs. Operations with convolutions or
    batch normalisation, whose kernels do depend on the stack, run alone. All this requires reproducible matrix products
    (`learning.executor.reproducible`) and one torch thread, which a run sets: with more, a product is divided among
    them by its size.

    Calls that are repeated are captured (`learning.executor.capture`), and captured calls of many FLOPs are shared by
    processes (`learning.executor.workers`). Neither changes a bit.
    """

    def __init__(
        self,
        store: Store | None = None,
        device: torch.device = CPU,
        processes: int = 1,
        workers: RemoteWorkers | None = None,
    ) -> None:
        """An executor that has computed nothing.

        Args:
            store: where results are kept between runs (default: they are not).
            device: where operations are computed.
            processes: number of processes on this machine that share the work of a group, this one included.
            workers: processes elsewhere that share it instead.
        """
        super().__init__(store, device)
        self.groups: defaultdict[tuple[str, int], int] = defaultdict(int)
        """(operation name, group size) -> how many calls."""
        self.captured = 0
        """Calls so far that were a captured operation's kernels alone."""
        self.elsewhere = 0
        """Calls so far in other processes."""
        self._workers = Workers(processes - 1) if workers is None else workers
        self._processes = self._workers.count + 1
        self._stacks = 0
        self._calls: dict[Hashable, int | Kernels] = {}
        """By key, jobs and strides of the operands: calls so far, or the captured operation."""

    def close(self) -> None:
        self._workers.close()

    def _run(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        jobs = in_order_of_rows(jobs)
        profile = self._profiles[jobs[0].key]
        processes = self._processes if profile.flops * len(jobs) >= DIVIDED_FLOPS else 1
        size = 1 if profile.alone else min(LARGEST_GROUP, -(-len(jobs) // processes))
        groups = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        for start in range(0, len(groups), processes):
            together = groups[start : start + processes]
            for group, results in zip(together, self._side_by_side(together), strict=True):
                for job, result in zip(group, results, strict=True):
                    self._finish(job, result)
        self.run += len(jobs)

    def _side_by_side(self, groups: list[list[Job]]) -> list[Sequence[Sequence[Tensor]]]:
        """The results of each group: the last one is computed here, others by workers where these can."""
        *others, own = groups
        calls = [self._call(group) for group in others]
        try:
            begun = [self._workers.begin(place, each.key, each.operands) for place, each in enumerate(calls)]
            here = self._results(own)
            found = [
                self._workers.results(place, calls[place].key) if began else None for place, began in enumerate(begun)
            ]
        except BaseException:
            self._workers.close()  # what they have begun is not waited for
            raise
        self.elsewhere += sum(one is not None for one in found)
        results = [self._computed(each) if one is None else one for each, one in zip(calls, found, strict=True)]
        return [*(self._rows(group, one) for group, one in zip(others, results, strict=True)), here]

    def _results(self, group: list[Job]) -> Sequence[Sequence[Tensor]]:
        return self._rows(group, self._computed(self._call(group)))

    def _call(self, group: list[Job]) -> _Call:
        """The one call that computes a group."""
        first = group[0]
        profile = self._profiles[first.key]
        self.groups[first.key.operation.__name__, len(group)] += 1
        if profile.alone:
            return _alone(first, self.device)
        return _stack(group * 2 if profile.thin and len(group) == 1 else group, self.device)

    def _rows(self, group: list[Job], results: Sequence[Tensor]) -> Sequence[Sequence[Tensor]]:
        """The results of each job of a group."""
        if self._profiles[group[0].key].alone:
            return [results]
        self._stacks += 1
        stack = Stack(self._stacks, len(results[0]) if results else len(group), results)
        return [Row(stack, place) for place in range(len(group))]

    def _computed(self, call: _Call) -> Sequence[Tensor]:
        """The results of a call, contiguous; from its captured kernels if it has some."""
        known = self._calls.get(call.key, 0)
        if not isinstance(known, int):
            self.captured += 1
            return _contiguous(known(*call.operands))
        self._calls[call.key] = known + 1
        if known + 1 == CAPTURED_CALL:
            try:
                results, kernels = capture(call.function, call.operands)
            except NotCapturable:
                pass  # it is called as before
            else:
                self._calls[call.key] = kernels
                results = _contiguous(results)
                if self._processes > 1:
                    self._workers.teach(call.key, kernels, call.operands, results)
                return results
        return _contiguous(call.function(*call.operands))


class _Call(NamedTuple):
    """A call of an operation, for one job or several ones."""

    key: Hashable
    """Calls with equal keys are the same kernels on other numbers."""
    function: Callable[..., Sequence[Tensor]]
    operands: list[Tensor]


def _alone(job: Job, device: torch.device) -> _Call:
    given = [aligned(operand) for operand in operands(job, device)]
    tensors = [operand for operand in given if isinstance(operand, Tensor)]

    def function(*tensors: Tensor) -> list[Tensor]:
        rest = iter(tensors)
        return call(job, [next(rest) if isinstance(operand, Tensor) else operand for operand in given])

    return _Call((job.key, None, *(tensor.stride() for tensor in tensors)), function, tensors)


def _stack(group: list[Job], device: torch.device) -> _Call:
    first = group[0]
    columns = [(column[0], stacked(column, device)) for column in zip(*(job.leaves for job in group), strict=True)]

    def one(*rows: Tensor) -> tuple[Tensor, ...]:
        rest, flat = iter(rows), []
        for plain, tensors in columns:
            flat += [plain] if tensors is None else [next(rest) for _ in tensors]
        return tuple(call(first, flat))

    together = [tensor for _, tensors in columns for tensor in tensors or ()]
    key = first.key, len(group), *(tensor.stride() for tensor in together)
    return _Call(key, vmap(one, randomness="error"), together)


def _contiguous(results: Sequence[Tensor]) -> list[Tensor]:
    return [result.contiguous() for result in results]  # as the store would give them back
