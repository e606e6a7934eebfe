"""The dry executor: shapes, hence clock, bits and joules; never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from learning.executor.base import Executor
from learning.executor.deferred import Job

if TYPE_CHECKING:
    from learning.store import Store


class NeedsValues(RuntimeError):
    """A deferred value was read from an executor that computes none."""


class Dry(Executor):
    """Computes no values: for latency and energy studies of many users."""

    computes: ClassVar[bool] = False

    def __init__(self, store: Store | None = None) -> None:
        super().__init__()  # there are no values to keep
        self._shapes = store

    def settle(self) -> None:
        pass

    def _accept(self, job: Job) -> None:
        job.leaves = []  # shapes are in the handles; keeping operands would keep the whole history alive

    def _force(self, job: Job) -> None:
        raise NeedsValues("the dry executor computes no values, and this scheme or stop criterion reads one")
