"""Profile of a layer at one server: the best sets of experts by the storage that they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from learning.control.placement.problem import Booleans, Floats, Integers
from learning.control.placement.server import LayerValue

MAX_ENUMERATED = 16
"""Experts of a layer of which all sets are enumerated at most."""


class Profile(NamedTuple):
    """Sets of experts of one layer; each takes more storage than the one before, and is worth more."""

    size_bytes: Integers
    """(sets,): ascending, from 0."""
    value: Floats
    """(sets,): ascending, from 0."""
    cached: Booleans
    """(sets, experts): True where an expert is in a set."""


ProfileOf = Callable[[LayerValue], Profile]


def undominated(size_bytes: Integers, value: Floats) -> Integers:
    """Indices of the Pareto-optimal entries: no other one is as small and worth as much.

    Args:
        size_bytes: (entries,): sizes.
        value: (entries,): values.

    Returns:
        Indices in ascending order of size and value; of equal entries one remains.
    """
    order = np.lexsort((-value, size_bytes))
    before = np.concatenate([[-np.inf], np.maximum.accumulate(value[order])[:-1]])
    return order[value[order] > before]


def enumerated(layer: LayerValue) -> Profile:
    """The exact profile, from all 2^E sets of E experts. Raises ValueError if E is more than `MAX_ENUMERATED`."""
    experts = len(layer.size_bytes)
    if experts > MAX_ENUMERATED:
        raise ValueError(f"the sets of {experts} experts cannot be enumerated; {MAX_ENUMERATED} are the most")
    cached = (np.arange(2**experts)[:, None] >> np.arange(experts)) % 2 == 1
    value = np.zeros(2**experts)
    np.add.at(value, layer.bundles @ (1 << np.arange(experts)), layer.saving_s)
    for axis in range(experts):  # each set adds up the bundles of all its subsets
        halves = value.reshape(-1, 2, 2**axis)
        halves[:, 1] += halves[:, 0]
    value += cached @ layer.potential_s
    return kept(layer, cached, value)


def chained(layer: LayerValue) -> Profile:
    """An approximate profile, from 2 E sets: a greedy chain upwards from no experts, and one downwards from all.

    Upwards, the expert is added that is worth most with those added before; downwards, the one is removed whose loss
    is smallest, each per byte. The time is that of a few passes over the bundles. Exact if no bundle has two experts
    and all experts have one size.
    """
    cached, value = [], []
    for order, worth in (upwards(layer), downwards(layer)):
        rank = np.argsort(order)
        cached.append(rank < np.arange(len(order) + 1)[:, None])
        value.append(np.concatenate([[0.0], np.cumsum(worth)]))
    return kept(layer, np.concatenate(cached), np.concatenate(value))


def kept(layer: LayerValue, cached: Booleans, value: Floats) -> Profile:
    """The profile of sets `cached` (sets, experts), of values (sets,), without those that others dominate."""
    size_bytes = np.asarray(cached @ layer.size_bytes, dtype=np.int64)
    best = undominated(size_bytes, value)
    return Profile(size_bytes[best], value[best], cached[best])


def upwards(layer: LayerValue) -> tuple[Integers, Floats]:
    """A greedy chain that begins with no experts: all experts in the order of addition, and the value each adds."""
    bundles, size = layer.bundles, np.maximum(layer.size_bytes, 1e-9)
    experts, missing = len(size), bundles.sum(axis=1)
    gain = layer.potential_s + layer.saving_s[missing == 1] @ bundles[missing == 1]
    order, worth, absent = np.empty(experts, dtype=np.int64), np.empty(experts), np.ones(experts, dtype=np.bool_)
    for step in range(experts):
        expert = int(np.where(absent, gain / size, -np.inf).argmax())
        order[step], worth[step], absent[expert] = expert, gain[expert], False
        missing -= bundles[:, expert]
        one_missing = bundles[:, expert] & (missing == 1)
        gain += layer.saving_s[one_missing] @ (bundles[one_missing] & absent)
    return order, worth


def downwards(layer: LayerValue) -> tuple[Integers, Floats]:
    """A greedy chain that begins with all experts: the reverse order of removal, and the value each removal loses."""
    bundles, size = layer.bundles, np.maximum(layer.size_bytes, 1e-9)
    experts, whole = len(size), np.ones(len(bundles), dtype=np.bool_)
    loss = layer.potential_s + layer.saving_s @ bundles
    order, worth, present = np.empty(experts, dtype=np.int64), np.empty(experts), np.ones(experts, dtype=np.bool_)
    for step in reversed(range(experts)):
        expert = int(np.where(present, loss / size, np.inf).argmin())
        order[step], worth[step], present[expert] = expert, loss[expert], False
        broken = whole & bundles[:, expert]
        loss -= layer.saving_s[broken] @ bundles[broken]
        whole &= ~broken
    return order, worth
