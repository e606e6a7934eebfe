"""Named random numbers: a draw is a function of (seed, purpose, entity, index), not of the order of draws.

An additional user, station or table does not change other draws, and any draw can be computed at any time: value number
`index` of a stream is the finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
OOPSLA 2014) applied to key + index * golden ratio; the key is a hash of the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import Any, overload

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
"""An array of 64-bit floating-point numbers."""
Index = int | Sequence[int] | NDArray[np.integer]
"""Position in a stream, or an array of positions."""

LARGEST_UNIFORM = 1 - 2.0**-53
"""Largest uniform number; the smallest is 1 minus it."""
LARGEST_EXPONENTIAL = 53 * log(2)
"""Largest exponential number with mean 1."""

_WORD = 2**64 - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _12 = (np.uint64(shift) for shift in (30, 27, 31, 12))


def uniforms(key: int, index: NDArray[np.integer]) -> Floats:
    """Return uniform numbers in the open interval (0, 1), with 52 random bits each.

    The ends of the interval are excluded, so that inverse transforms of draws are finite and positive.

    Args:
        key: key of the stream, from `Streams.key`.
        index: positions in the stream, of any shape; the result has the same shape.
    """
    word = index.astype(np.uint64)  # a copy; negative positions wrap around
    word *= _GOLDEN
    word += np.uint64(key)
    word ^= word >> _30
    word *= _FIRST
    word ^= word >> _27
    word *= _SECOND
    word ^= word >> _31
    word >>= _12
    return (word.astype(np.float64) + 0.5) * 2.0**-52


def _uniform(key: int, index: int) -> float:
    """Return the number of `uniforms` at a single position, for which Python's integers take less time than arrays."""
    word = (index * int(_GOLDEN) + key) & _WORD
    word = (word ^ (word >> 30)) * int(_FIRST) & _WORD
    word = (word ^ (word >> 27)) * int(_SECOND) & _WORD
    return (((word ^ (word >> 31)) >> 12) + 0.5) * 2.0**-52


def exponentials(key: int, index: NDArray[np.integer]) -> Floats:
    """Return exponential numbers with mean 1; arguments as in `uniforms`."""
    return -np.log(uniforms(key, index))


def normals(key: int, index: NDArray[np.integer]) -> Floats:
    """Return standard normal numbers; arguments as in `uniforms`."""
    return np.asarray(ndtri(uniforms(key, index)), dtype=np.float64)


class Streams:
    """The random numbers of one seed, as named streams.

    A stream is named by a purpose, such as "fading", and an entity, such as the numbers of a user and a station. Draws
    are values of a stream at the positions `index`, from 0.
    """

    def __init__(self, seed: int, owner: str | None = None) -> None:
        """The streams of a seed; `owner` makes them those of one of several owners of alike entities."""
        self.seed, self.owner = seed, owner

    def of(self, owner: str) -> Streams:
        """Return streams of the same seed that are independent of these, for entities that belong to an owner."""
        return Streams(self.seed, owner)

    def key(self, purpose: str, *entity: int | str) -> int:
        """Return the key of a stream: a 64-bit hash of seed, purpose and entity."""
        whose = () if self.owner is None else (self.owner,)
        name = (self.seed, *whose, purpose, *[part if isinstance(part, str) else int(part) for part in entity])
        return int.from_bytes(blake2b(repr(name).encode(), digest_size=8).digest(), "little")

    @overload
    def uniform(self, purpose: str, *entity: int | str, index: int) -> float: ...
    @overload
    def uniform(self, purpose: str, *entity: int | str, index: Sequence[int] | NDArray[np.integer]) -> Floats: ...
    def uniform(self, purpose: str, *entity: int | str, index: Index) -> float | Floats:
        """Return uniform numbers in (0, 1), of the shape of `index`; a float for a single position."""
        key = self.key(purpose, *entity)
        return _uniform(key, index) if isinstance(index, int) else _shaped(uniforms(key, np.atleast_1d(index)), index)

    @overload
    def exponential(self, purpose: str, *entity: int | str, index: int) -> float: ...
    @overload
    def exponential(self, purpose: str, *entity: int | str, index: Sequence[int] | NDArray[np.integer]) -> Floats: ...
    def exponential(self, purpose: str, *entity: int | str, index: Index) -> float | Floats:
        """Return exponential numbers with mean 1, of the shape of `index`; a float for a single position."""
        return _shaped(exponentials(self.key(purpose, *entity), np.atleast_1d(index)), index)

    @overload
    def normal(self, purpose: str, *entity: int | str, index: int) -> float: ...
    @overload
    def normal(self, purpose: str, *entity: int | str, index: Sequence[int] | NDArray[np.integer]) -> Floats: ...
    def normal(self, purpose: str, *entity: int | str, index: Index) -> float | Floats:
        """Return standard normal numbers, of the shape of `index`; a float for a single position."""
        key = self.key(purpose, *entity)
        if isinstance(index, int):
            return float(ndtri(_uniform(key, index)))
        return _shaped(normals(key, np.atleast_1d(index)), index)

    def generator(self, purpose: str, *entity: int | str) -> np.random.Generator:
        """Return a new NumPy generator with the key of a stream, for permutations and whole tensors."""
        key = _PhiloxKey(self.key(purpose, *entity))
        return np.random.Generator(np.random.Philox(key))  # type: ignore[arg-type]  # any ISeedSequence is allowed


class _PhiloxKey(ISeedSequence):
    """A key as NumPy's source of seeds. Philox(key=...) gives the same numbers, but first asks the system for entropy,
    which takes three quarters of the time of a new generator."""

    def __init__(self, key: int) -> None:
        self._words = np.array([key, 0], dtype=np.uint64)

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[np.uint64]:
        return self._words


def _shaped(values: Floats, index: Index) -> float | Floats:
    return float(values[0]) if np.ndim(index) == 0 else values
