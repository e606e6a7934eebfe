"""Max-plus convolution: best values of two parts together that share an amount of storage, for each amount.

    (a ⊕ b)[c] = max_{j} a[j] + b[c - j]

The matrix of a[j] + b[c - j] (rows c, columns j) is totally monotone if b is concave: the columns of the row maxima do
not descend. `divide_and_conquer` and `smawk` use that; `naive` is for any b. Of several best j all return the smallest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from learning.control.placement.problem import Floats, Integers


class Convolution(NamedTuple):
    """A max-plus convolution of arrays a and b, of len(a) + len(b) - 1 entries."""

    value: Floats
    """(entries,): the maxima."""
    split: Integers
    """(entries,): the smallest index j of `a` at which each is attained."""


Convolve = Callable[[Floats, Floats], Convolution]


def concave(values: Floats) -> bool:
    """Return whether the increments of an array do not ascend."""
    return bool((np.diff(values, 2) <= 0).all())


def naive(a: Floats, b: Floats) -> Convolution:
    """By all pairs, in O(len(a) len(b)), for any arrays."""
    value = np.full(len(a) + len(b) - 1, -np.inf)
    split = np.zeros(len(value), dtype=np.int64)
    if len(a) <= len(b):
        for j, first in enumerate(a):
            window, tried = slice(j, j + len(b)), first + b
            split[window] = np.where(tried > value[window], j, split[window])
            value[window] = np.maximum(value[window], tried)
    else:
        for shift, second in enumerate(b):  # j descends in each entry, so of equal ones the later is taken
            window, tried = slice(shift, shift + len(a)), a + second
            split[window] = np.where(tried >= value[window], np.arange(len(a)), split[window])
            value[window] = np.maximum(value[window], tried)
    return Convolution(value, split)


def divide_and_conquer(a: Floats, b: Floats) -> Convolution:
    """By halving the rows, since the best columns do not descend, in O((len(a) + len(b)) log(len(a) + len(b))).

    Raises ValueError if `b` is not concave.
    """
    require_concave(b)
    value, split = np.empty(len(a) + len(b) - 1), np.zeros(len(a) + len(b) - 1, dtype=np.int64)
    ranges = [(0, len(value), 0, len(a) - 1)]
    while ranges:
        start, stop, low, high = ranges.pop()
        if start == stop:
            continue
        row = (start + stop) // 2
        first, last = max(low, row - len(b) + 1), min(high, row)
        tried = a[first : last + 1] + b[row - last : row - first + 1][::-1]
        best = int(tried.argmax())
        value[row], split[row] = tried[best], first + best
        ranges += [(start, row, low, first + best), (row + 1, stop, first + best, high)]
    return Convolution(value, split)


def smawk(a: Floats, b: Floats) -> Convolution:
    """By the SMAWK algorithm, in O(len(a) + len(b)) [Aggarwal, Klawe, Moran, Shor, Wilber, Algorithmica 2, 1987].

    Beyond its ends `b` is continued by lines too steep to matter, so that it remains concave. Raises ValueError if `b`
    is not concave.
    """
    require_concave(b)
    steep, last = 1.0 + 2.0 * float(np.ptp(a) + np.ptp(b)), len(b) - 1
    first_list, second_list = a.tolist(), b.tolist()

    def entry(row: int, column: int) -> float:
        inside = min(max(row - column, 0), last)
        return float(first_list[column] + second_list[inside] - steep * abs(row - column - inside))

    split = np.array(row_maxima(range(len(a) + last), range(len(a)), entry), dtype=np.int64)
    return Convolution(a[split] + b[np.arange(len(split)) - split], split)


def row_maxima(rows: range, columns: range | list[int], entry: Callable[[int, int], float]) -> list[int]:
    """Leftmost columns of the maxima of all rows, of a totally monotone matrix with these rows and columns."""
    if not rows:
        return []
    candidates: list[int] = []  # at most one column for each row: the others are maxima of none
    for column in columns:
        while candidates:
            row = rows[len(candidates) - 1]
            if entry(row, candidates[-1]) >= entry(row, column):
                break
            candidates.pop()
        if len(candidates) < len(rows):
            candidates.append(column)
    odd, maxima, position = row_maxima(rows[1::2], candidates, entry), list[int](), 0
    for index, row in enumerate(rows):
        if index % 2 == 1:
            maxima.append(odd[index // 2])
            continue
        final = odd[index // 2] if index // 2 < len(odd) else candidates[-1]
        best = candidates[position]
        while candidates[position] != final:  # an even row's maximum lies between those of its neighbours
            position += 1
            if entry(row, candidates[position]) > entry(row, best):
                best = candidates[position]
        maxima.append(best)
    return maxima


def where_concave(method: Convolve) -> Convolve:
    """A convolution of any arrays: by `method` if one of them is concave, and by `naive` if none is."""

    def convolve(a: Floats, b: Floats) -> Convolution:
        if concave(b):
            return method(a, b)
        if concave(a):
            value, split = method(b, a)
            return Convolution(value, np.arange(len(split)) - split)
        return naive(a, b)

    return convolve


def require_concave(values: Floats) -> None:
    """Raise ValueError if an array is not concave."""
    if not concave(values):
        raise ValueError("the second array of this max-plus convolution is not concave; use `naive`")
