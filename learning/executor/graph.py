"""Executors that wait: jobs form a graph, and run when a value is demanded that the store does not have."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from torch import Tensor
from torch.utils._pytree import tree_flatten

from learning.executor.base import Executor
from learning.executor.deferred import Deferred, Job, Key

if TYPE_CHECKING:
    from learning.store import Store

MAX_PENDING = 4096
"""Jobs accepted before all that is ready runs without being asked for: bounds the memory of the waiting graph."""


class Waiting(Executor):
    """Runs a job when its value, or that of a job that builds on it, is demanded; what nobody holds any more, never.

    With a store, what was read and what is held at the end of a round is kept, and nothing runs that the store has.
    """

    def __init__(self, store: Store | None = None) -> None:
        super().__init__(store)
        self._ready: defaultdict[Key, list[ReferenceType[Job]]] = defaultdict(list)
        self._accepted = 0
        self._held: list[ReferenceType[Job]] = []

    @abstractmethod
    def _run(self, jobs: list[Job]) -> None:
        """Run jobs of one key whose operands are there, and `_finish` each."""

    def settle(self) -> None:
        """The end of a round: what is still held is computed and kept in the store, or found there.

        From the newest to the oldest: when the newest has its value, what only led to it is not held any more.
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
                self._run(self._group(top))

    def _flush(self) -> None:
        while self._ready:
            self._run([job for reference in self._ready.popitem()[1] if (job := reference()) is not None])
        self._accepted = 0

    def _group(self, demanded: Job) -> list[Job]:
        """The demanded job and all living jobs of its key that are ready and not in the store, oldest first."""
        ready = [job for reference in self._ready.pop(demanded.key, ()) if (job := reference()) is not None]
        jobs = [job for job in ready if job is demanded or not self._has(job)]
        return jobs if demanded in jobs else [*jobs, demanded]  # left out before, and gone from the store since

    def _finish(self, job: Job, result: list[Tensor]) -> None:
        """Give a job its result, let go of its operands, and note which living children became ready."""
        job.result = [tensor.contiguous() for tensor in result]  # as the store would give it back
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
        """Take a job's result from the store, if it is there."""
        if self.store is None or job.identity is None or job.identity not in self.store:
            return False
        result = self.store.get(job.identity)
        if result is None:  # damaged, or forgotten since
            return False
        self.stored += 1
        self._finish(job, result)
        return True

    def _keep(self, jobs: list[Job]) -> None:
        """Put results into the store that are not there."""
        if self.store is None:
            return
        new = {job.identity: job.result for job in jobs if job.identity and job.result and not self._has(job)}
        if new:
            self.store.put(list(new.items()))
