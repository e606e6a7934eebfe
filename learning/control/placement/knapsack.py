"""Division of a server's storage among layers: a multiple-choice knapsack, with one set of each layer's profile.

max sum_l value_l(m_l)  subject to  sum_l size_l(m_l) <= storage
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd

import numpy as np

from learning.control.placement.convolution import Convolve, naive
from learning.control.placement.problem import Floats, Integers
from learning.control.placement.profiles import Profile, undominated

Knapsack = Callable[[Sequence[Profile], int], list[int]]
"""Profiles of all layers and bytes of storage -> the index of a set in each profile."""

MAX_CELLS = 4096
"""Units into which a server's storage is divided at most."""


def by_states(profiles: Sequence[Profile], storage_bytes: int) -> list[int]:
    """Exactly, to the byte: dynamic programming over layers; of partial choices those remain that none dominates.

    The number of these is bounded by that of different totals of bytes, which is small where experts have one size.
    """
    size_bytes, value = np.zeros(1, dtype=np.int64), np.zeros(1)
    steps: list[tuple[Integers, Integers]] = []
    for profile in profiles:
        sizes = (size_bytes[:, None] + profile.size_bytes).ravel()
        values = (value[:, None] + profile.value).ravel()
        fitting = np.flatnonzero(sizes <= storage_bytes)
        best = fitting[undominated(sizes[fitting], values[fitting])]
        steps.append((best // len(profile.value), best % len(profile.value)))
        size_bytes, value = sizes[best], values[best]
    state, chosen = len(value) - 1, list[int]()
    for before, sets in reversed(steps):
        chosen.append(int(sets[state]))
        state = int(before[state])
    return chosen[::-1]


def by_convolution(profiles: Sequence[Profile], storage_bytes: int, convolve: Convolve = naive) -> list[int]:
    """By max-plus convolutions of the layers' profiles in a binary tree, in units of `unit_bytes`.

    Args:
        profiles: One for each layer.
        storage_bytes: Storage of the server.
        convolve: The max-plus convolution.

    Returns:
        The index of a set in each profile: the best, if the unit divides all sizes; otherwise sizes are rounded up,
        which wastes at most a unit of storage in each layer.
    """
    unit = unit_bytes(profiles, storage_bytes)
    cells = storage_bytes // unit
    taken = [-(-profile.size_bytes // unit) for profile in profiles]
    best = [np.searchsorted(each, np.arange(min(cells, each[-1]) + 1), side="right") - 1 for each in taken]
    shares = divided([profile.value[sets] for profile, sets in zip(profiles, best, strict=True)], cells, convolve)
    return [int(sets[share]) for sets, share in zip(best, shares, strict=True)]


def divided(values: Sequence[Floats], cells: int, convolve: Convolve) -> list[int]:
    """Numbers of cells of each layer, `cells` in total at most, that maximise the sum of `values[layer][its cells]`."""

    def combined(first: int, stop: int) -> tuple[Floats, Callable[[int], list[int]]]:
        """Best values of layers `first` to `stop` by their cells, and the division of these cells among them."""
        if stop - first == 1:
            return values[first], lambda share: [share]
        middle = (first + stop) // 2
        (left, of_left), (right, of_right) = combined(first, middle), combined(middle, stop)
        value, split = convolve(left, right)
        return value[: cells + 1], lambda share: [*of_left(int(split[share])), *of_right(share - int(split[share]))]

    value, shares = combined(0, len(values))
    return shares(int(value.argmax()))


def unit_bytes(profiles: Sequence[Profile], storage_bytes: int) -> int:
    """The greatest common divisor of all sizes, or more, so that storage has at most `MAX_CELLS` units."""
    common = gcd(*(int(size) for profile in profiles for size in profile.size_bytes))
    return max(common, -(-storage_bytes // MAX_CELLS), 1)
