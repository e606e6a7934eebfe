"""The eager executor: every operation runs alone. It is the reference, and the executor for debugging."""

from learning.executor.base import aligned, call, operands
from learning.executor.deferred import Job
from learning.executor.graph import LazyExecutor


class Eager(LazyExecutor):
    """Runs each operation alone, exactly as plain torch would, as soon as it is submitted.

    With a store, which may have the values that build on an operation, it runs when a value is read.
    """

    def _accept(self, job: Job) -> None:
        super()._accept(job)
        if self.store is None:
            self._force(job)

    def _run(self, jobs: list[Job]) -> None:
        for job in jobs:
            results = call(job, map(aligned, operands(job, self.device)))
            self._finish(job, [result.contiguous() for result in results])
        self.run += len(jobs)
