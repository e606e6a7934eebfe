"""The eager executor: every operation runs when it is submitted. The reference, and the one to debug with."""

from learning.executor.base import Executor, call, operands
from learning.executor.deferred import Job


class Eager(Executor):
    """Runs each operation at once and alone, exactly as plain torch would."""

    def _accept(self, job: Job) -> None:
        self.run += 1
        job.result = call(job, operands(job))
        job.leaves = []

    def _force(self, job: Job) -> None:
        assert job.result is not None
