"""Participation: which of the users are asked to take part in a round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from learning.ports import Streams

Numbers = NDArray[np.float64]


class Candidates(NamedTuple):
    """Users that can be asked."""

    numbers: NDArray[np.int64]
    samples: NDArray[np.int64]
    users: int
    """How many users there are altogether."""
    able: NDArray[np.int64]
    """Numbers of all users that are not left out of the run, ascending; candidates are among them."""


class Participation(Protocol):
    """A rule that ranks users: those with the least keys are asked."""

    def wanted(self, users: int) -> int:
        """How many of `users` take part in a round. Raises ValueError where there are not enough."""
        ...

    def keys(self, candidates: Candidates, turn: int, before: int, streams: Streams) -> Numbers:
        """A key for each candidate in choice number `turn`, before which `before` users have been chosen.

        Whoever has an infinite one is not asked.
        """
        ...


@dataclass(frozen=True)
class Everybody:
    """All users take part in every round."""

    def wanted(self, users: int) -> int:
        return users

    def keys(self, candidates: Candidates, turn: int, before: int, streams: Streams) -> Numbers:
        return candidates.numbers.astype(np.float64)


@dataclass(frozen=True)
class Random:
    """So many users in each round, drawn afresh, all with the same probability."""

    count: Annotated[int, Ge(1)]
    """How many users take part in a round."""

    def wanted(self, users: int) -> int:
        return enough(self.count, users)

    def keys(self, candidates: Candidates, turn: int, before: int, streams: Streams) -> Numbers:
        return draws(candidates, turn, streams)


@dataclass(frozen=True)
class BySamples:
    """So many users in each round, drawn one after another in proportion to their samples, none twice."""

    count: Annotated[int, Ge(1)]
    """How many users take part in a round."""

    def wanted(self, users: int) -> int:
        return enough(self.count, users)

    def keys(self, candidates: Candidates, turn: int, before: int, streams: Streams) -> Numbers:
        """Exponential waiting times with rates in proportion to samples: Efraimidis and Spirakis, 2006."""
        return np.asarray(-np.log1p(-draws(candidates, turn, streams)) / candidates.samples)


@dataclass(frozen=True)
class RoundRobin:
    """So many users in each round, in turn by number."""

    count: Annotated[int, Ge(1)]
    """How many users take part in a round."""

    def wanted(self, users: int) -> int:
        return enough(self.count, users)

    def keys(self, candidates: Candidates, turn: int, before: int, streams: Streams) -> Numbers:
        places = np.searchsorted(candidates.able, candidates.numbers)
        return ((places - before) % len(candidates.able)).astype(np.float64)


@dataclass(frozen=True)
class Poisson:
    """As many users in each round as a Poisson law says, drawn afresh, all with the same probability."""

    mean: Annotated[float, Gt(0)]
    """Mean of the law."""
    least: Annotated[int, Ge(1)] = 1
    """Users that take part in a round at least."""

    def wanted(self, users: int) -> int:
        enough(self.least, users)
        return users

    def keys(self, candidates: Candidates, turn: int, before: int, streams: Streams) -> Numbers:
        arrivals = max(int(streams.generator("arrivals", turn).poisson(self.mean)), self.least)
        keys = draws(candidates, turn, streams)
        keys[np.argsort(keys, kind="stable")[arrivals:]] = np.inf
        return keys


def enough(count: int, users: int) -> int:
    """`count`, if there are as many users."""
    if count > users:
        raise ValueError(f"{count} users are to take part in a round, but there are {users}")
    return count


def draws(candidates: Candidates, turn: int, streams: Streams) -> Numbers:
    """Uniform numbers in [0, 1), one for each candidate, which do not depend on who the other candidates are."""
    return streams.generator("participants", turn).random(candidates.users)[candidates.numbers]


PARTICIPATIONS: dict[str, type] = {
    "all": Everybody,
    "random": Random,
    "by_samples": BySamples,
    "round_robin": RoundRobin,
    "poisson": Poisson,
}
