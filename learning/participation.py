"""Participation rules: which of the users are selected to take part in a round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol, runtime_checkable

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from learning.ports import Streams

Numbers = NDArray[np.float64]


class Candidates(NamedTuple):
    """Users that a participation rule can select."""

    numbers: NDArray[np.int64]
    """(candidates,): numbers of the users."""
    samples: NDArray[np.int64]
    """(candidates,): sizes of their data sets."""
    users: int
    """Number of users in the scenario."""
    eligible: NDArray[np.int64]
    """Numbers of all users that are not excluded from the run, ascending; the candidates are among them."""


class Participation(Protocol):
    """A rule that selects the users of a round, its cohort: those candidates with the smallest keys."""

    def cohort_size(self, users: int) -> int:
        """How many users take part in a round, at most.

        Args:
            users: number of users that are not excluded from the run.

        Raises:
            ValueError: there are fewer users than the rule needs.
        """
        ...

    def keys(self, candidates: Candidates, number: int, before: int, streams: Streams) -> Numbers:
        """(candidates,): keys by which candidates are ranked; one with an infinite key is not selected.

        Args:
            candidates: the users that can be selected.
            number: number of this selection, from 0, by which its draws are named; that of the round, where users
                are selected once in a round.
            before: users selected in all selections before this one.
            streams: the run's random streams.
        """
        ...


@runtime_checkable
class Sampling(Protocol):
    """A participation rule that selects users without a look at all of them."""

    def sampled(self, count: int, users: int, number: int, before: int, streams: Streams) -> list[int]:
        """Numbers of the users that are selected, all different.

        Args:
            count: how many, at most `users`.
            users: number of users in the scenario.
            number: number of this selection, from 0, by which its draws are named.
            before: users selected in all selections before this one.
            streams: the run's random streams.
        """
        ...


@dataclass(frozen=True)
class AllUsers:
    """All users take part in every round."""

    def cohort_size(self, users: int) -> int:
        return users

    def keys(self, candidates: Candidates, number: int, before: int, streams: Streams) -> Numbers:
        return candidates.numbers.astype(np.float64)


@dataclass(frozen=True)
class RandomParticipation:
    """A fixed number of users in each round, drawn independently in each, all with the same probability."""

    count: Annotated[int, Ge(1)]
    """How many users take part in a round."""

    def cohort_size(self, users: int) -> int:
        return checked_count(self.count, users)

    def keys(self, candidates: Candidates, number: int, before: int, streams: Streams) -> Numbers:
        return uniform_draws(candidates, number, streams)

    def sampled(self, count: int, users: int, number: int, before: int, streams: Streams) -> list[int]:
        """Draws with replacement, of which the first `count` different ones are taken."""
        generator, chosen = streams.generator("sampled participants", number), dict[int, None]()
        while len(chosen) < count:
            chosen |= dict.fromkeys(generator.integers(users, size=count - len(chosen)).tolist())
        return list(chosen)


@dataclass(frozen=True)
class BySamples:
    """A fixed number of users in each round, drawn without replacement in proportion to their numbers of samples."""

    count: Annotated[int, Ge(1)]
    """How many users take part in a round."""

    def cohort_size(self, users: int) -> int:
        return checked_count(self.count, users)

    def keys(self, candidates: Candidates, number: int, before: int, streams: Streams) -> Numbers:
        """Exponential waiting times with rates in proportion to samples: Efraimidis and Spirakis, 2006."""
        return np.asarray(-np.log1p(-uniform_draws(candidates, number, streams)) / candidates.samples)


@dataclass(frozen=True)
class RoundRobinParticipation:
    """A fixed number of users in each round, cyclically in the order of their numbers."""

    count: Annotated[int, Ge(1)]
    """How many users take part in a round."""

    def cohort_size(self, users: int) -> int:
        return checked_count(self.count, users)

    def keys(self, candidates: Candidates, number: int, before: int, streams: Streams) -> Numbers:
        places = np.searchsorted(candidates.eligible, candidates.numbers)
        return ((places - before) % len(candidates.eligible)).astype(np.float64)

    def sampled(self, count: int, users: int, number: int, before: int, streams: Streams) -> list[int]:
        return [(before + place) % users for place in range(count)]


@dataclass(frozen=True)
class PoissonParticipation:
    """A Poisson-distributed number of users in each round, drawn independently in each, all equally likely."""

    mean: Annotated[float, Gt(0)]
    """Mean of the Poisson distribution."""
    min_users: Annotated[int, Ge(1)] = 1
    """Minimum number of users in a round; a smaller draw is raised to it."""

    def cohort_size(self, users: int) -> int:
        checked_count(self.min_users, users)
        return users

    def keys(self, candidates: Candidates, number: int, before: int, streams: Streams) -> Numbers:
        arrivals = max(int(streams.generator("arrivals", number).poisson(self.mean)), self.min_users)
        keys = uniform_draws(candidates, number, streams)
        keys[np.argsort(keys, kind="stable")[arrivals:]] = np.inf
        return keys


def checked_count(count: int, users: int) -> int:
    """`count`. Raises ValueError if there are fewer `users`."""
    if count > users:
        raise ValueError(f"{count} users are to take part in a round, but there are {users}")
    return count


def uniform_draws(candidates: Candidates, number: int, streams: Streams) -> Numbers:
    """(candidates,): uniform numbers in [0, 1); a user's number does not depend on who the other candidates are."""
    return streams.generator("participants", number).random(candidates.users)[candidates.numbers]


PARTICIPATIONS: dict[str, type] = {
    "all": AllUsers,
    "random": RandomParticipation,
    "by_samples": BySamples,
    "round_robin": RoundRobinParticipation,
    "poisson": PoissonParticipation,
}
