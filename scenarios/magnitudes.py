"""The range of all numbers in a scenario, beyond which products and quotients leave that of floating point.

No quantity is near these bounds in the unit of its field; a field may have a range of its own within them.
"""

from __future__ import annotations

from math import inf
from typing import Any

from scenarios.errors import Path

SMALLEST, LARGEST = 1e-40, 1e30
"""Bounds of the magnitude of a number other than zero (our choice). Products of several are floats in double precision,
and each is one in single precision, in which weights are."""


def out_of_range(content: Any, path: Path = ()) -> tuple[Path, float] | None:
    """Return the path and the value of the first number beyond the bounds; None if all are within.

    Infinity and not-a-number are left to the fields.
    """
    if isinstance(content, dict):
        inner: Any = content.items()
    elif isinstance(content, list | tuple):
        inner = enumerate(content)
    elif isinstance(content, int | float):
        beyond = 0 < abs(content) < SMALLEST or LARGEST < abs(content) < inf
        return (path, content) if beyond else None
    else:
        return None
    return next(filter(None, (out_of_range(value, (*path, step)) for step, value in inner)), None)
