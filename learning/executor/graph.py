"""Lazy executors: jobs form a graph, and run when a value is read that the store does not have."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from learning.executor.base import CPU, Executor
from learning.executor.deferred import Deferred, Job, Key
from learning.executor.devices import computing_on

if TYPE_CHECKING:
    from learning.store import Store

MAX_PENDING = 4096
"""Jobs accepted since the last flush before all that are ready run unread, which bounds the memory of the graph."""


class LazyExecutor(Executor):
    """Runs a job when its value, or that of a job that builds on it, is read; a job that is not referred to, never.

    With a store, values that were read, or are referred to at the end of a round, are kept; none that the store has is
    computed again.
    """

    def __init__(self, store: Store | None = None, device: torch.device = CPU) -> None:
        super().__init__(store, device)
        self._ready: defaultdict[Key, list[ReferenceType[Job]]] = defaultdict(list)
        self._accepted = 0
        self._held: list[ReferenceType[Job]] = []

    @abstractmethod
    def _run(self, jobs: list[Job]) -> None:
        """Run jobs of one key whose operands are computed, and `_finish` each."""

    def settle(self) -> None:
        """End a round: compute the values that are still referred to, and keep them in the store, or find them there.

        It goes from the newest to the oldest: once the newest has its value, jobs that only led to it are let go.
        """
        if self.store is None:
            return
        for reference in reversed(self._held):
            job = reference()
            if job is not None and job.result is None:
                self._force(job)
            del job
        self._held = [reference for reference in self._held if reference() is not None]
        self.store.refresh()
        self._keep([job for reference in self._held if (job := reference()) is not None])

    def value(self, tree: Any) -> Any:
        value = super().value(tree)
        self._keep([leaf.job for leaf in tree_flatten(tree)[0] if isinstance(leaf, Deferred)])
        return value

    def _accept(self, job: Job) -> None:
        parents = job.unfinished_parents()
        job.waiting = len(parents)
        for parent in parents:
            parent.children.append(ref(job))
        if not parents:
            self._ready[job.key].append(ref(job))
        self._accepted += 1
        if self.store is not None:
            self._held.append(ref(job))
        elif self._accepted > MAX_PENDING:
            self._flush()

    def _force(self, job: Job) -> None:
        climb = [job]
        while climb:
            top = climb[-1]
            if top.result is not None or self._fetch(top):
                climb.pop()
            elif top.waiting:
                climb.append(top.unfinished_parents()[0])
            else:
                self._compute(self._group(top))

    def _flush(self) -> None:
        while self._ready:
            self._compute([job for reference in self._ready.popitem()[1] if (job := reference()) is not None])
        self._accepted = 0

    def _compute(self, jobs: list[Job]) -> None:
        with computing_on(self.device):
            self._run(jobs)

    def _group(self, demanded: Job) -> list[Job]:
        """The job that is read, with all jobs of its key that are ready and not in the store, the oldest first."""
        ready = [job for reference in self._ready.pop(demanded.key, ()) if (job := reference()) is not None]
        jobs = [job for job in ready if job is demanded or not self._has(job)]
        return jobs if demanded in jobs else [*jobs, demanded]  # left out before, and gone from the store since

    def _finish(self, job: Job, result: Sequence[Tensor]) -> None:
        """Give a job its result, of contiguous tensors, release its operands, and queue its children that are ready."""
        job.result = result
        job.leaves = []
        for reference in job.children:
            child = reference()
            if child is not None and child.result is None:
                child.waiting -= 1
                if not child.waiting:
                    self._ready[child.key].append(ref(child))
        job.children = []

    def _has(self, job: Job) -> bool:
        return self.store is not None and job.identity is not None and job.identity in self.store

    def _fetch(self, job: Job) -> bool:
        """Read a job's result from the store; returns whether it was there."""
        if self.store is None or job.identity is None or job.identity not in self.store:
            return False
        result = self.store.get(job.identity)
        if result is None:  # damaged, or forgotten since
            return False
        self.stored += 1
        self._finish(job, result)
        return True

    def _keep(self, jobs: list[Job]) -> None:
        """Write to the store those results that it lacks."""
        if self.store is None:
            return
        new = {
            job.identity: [tensor.cpu() for tensor in job.result]
            for job in jobs
            if job.identity and job.result and not self._has(job)
        }
        if new:
            self.store.put(list(new.items()))
