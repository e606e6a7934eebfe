"""The eager executor: every operation runs by itself. The reference, and the one to debug with."""

from learning.executor.base import aligned, call, operands
from learning.executor.deferred import Job
from learning.executor.graph import Waiting


class Eager(Waiting):
    """Runs each operation alone, exactly as plain torch would.

    That is when it is submitted; with a store, which may have what follows from it, when a value is demanded.
    """

    def _accept(self, job: Job) -> None:
        super()._accept(job)
        if self.store is None:
            self._force(job)

    def _run(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._finish(job, call(job, map(aligned, operands(job))))
        self.run += len(jobs)
