"""The type of processes: generators that take simulated time."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import simpy

T = TypeVar("T")

Process = Generator[simpy.Event, Any, T]
"""A generator that takes simulated time and returns a T: `result = yield from process`.

An interrupt releases all resources that it holds. Values sent into it by events have no type in SimPy.
"""
