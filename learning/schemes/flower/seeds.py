"""Random numbers of code that draws them from the generators of the process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def seeded(key: int) -> Iterator[None]:
    """Context in which the generators of Python, NumPy and torch begin at a key of 64 bits; they go on as before after.

    What code draws then depends on the key alone: not on other users, nor on the order in which they work.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  what the code of others uses
    begun = np.random.RandomState(key % 2**32)
    _set((random.Random(key).getstate(), begun.get_state(), torch.Generator().manual_seed(key % 2**63).get_state()))
    try:
        yield
    finally:
        _set(before)


def _set(states: tuple[Any, Any, torch.Tensor]) -> None:
    python, numpy, torch_state = states
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(torch_state)
