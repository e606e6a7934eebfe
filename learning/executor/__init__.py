"""Executors of torch operations: submitted at simulated times, run at once, when a value is read, or never."""

from learning.executor.base import Executor
from learning.executor.batched import Batched
from learning.executor.deferred import Deferred, Leaf
from learning.executor.devices import DeviceName, device_of
from learning.executor.dry import Dry
from learning.executor.eager import Eager
from learning.executor.uncompiled import without_compiler

without_compiler()

EXECUTORS: dict[str, type[Executor]] = {"eager": Eager, "batched": Batched, "dry": Dry}

__all__ = ["EXECUTORS", "Batched", "Deferred", "DeviceName", "Dry", "Eager", "Executor", "Leaf", "device_of"]
