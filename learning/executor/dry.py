"""The dry executor: shapes, hence clock, bits and joules; never a value."""

from typing import ClassVar

from learning.executor.base import Executor
from learning.executor.deferred import Job


class Dry(Executor):
    """Computes nothing: for latency and energy studies of many users."""

    computes: ClassVar[bool] = False

    def _accept(self, job: Job) -> None:
        job.leaves = []  # shapes are in the handles; keeping operands would keep the whole history alive

    def _force(self, job: Job) -> None:
        raise RuntimeError("the dry executor computes no values, and this scheme or stop criterion reads one")
