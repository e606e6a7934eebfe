"""What spends simulated time."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import simpy

T = TypeVar("T")

Process = Generator[simpy.Event, Any, T]
"""A generator of simulated time that returns a T: `result = yield from process`.

An interrupt releases whatever it holds. What an event sends into it has no type in SimPy.
"""
