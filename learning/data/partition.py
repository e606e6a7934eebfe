"""Partitions of the training samples among users, from IID to strongly non-IID."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from learning.data.flower_partition import FlowerPartition
from learning.ports import Streams

Integers = NDArray[np.int64]
NO_ROWS: Integers = np.empty(0, dtype=np.int64)
"""Row numbers of no samples."""


class Partition(Protocol):
    """A rule that divides samples among users by their classes or sources."""

    def split(self, labels: Integers, users: int, streams: Streams) -> Sequence[Integers]:
        """Row numbers of each user, ascending: disjoint and complete, unless users share samples.

        Raises ValueError if there are too few samples for the minimum of every user.
        """
        ...


@dataclass(frozen=True)
class Iid:
    """IID: a random permutation divided into equal parts."""

    def split(self, labels: Integers, users: int, streams: Streams) -> list[Integers]:
        require_samples(len(labels), users, 1)
        rows = streams.generator("partition", "rows").permutation(len(labels))
        return [np.sort(part) for part in np.array_split(rows, users)]


@dataclass(frozen=True)
class Dirichlet:
    """Label skew: each class is divided among the users in Dirichlet(alpha) proportions."""

    # Hsu, Qi and Brown, arXiv 1909.06335. Large alpha tends to the same share of each class for all users.

    alpha: Annotated[float, Gt(0)] = 0.5
    """Concentration parameter; smaller values give each user fewer classes."""

    min_samples: Annotated[int, Ge(1)] = 10
    """Minimum number of samples of a user; missing ones are taken from the users with the most samples."""

    groups: Annotated[int, Ge(1)] = 1
    """Number of groups of users. Users and classes (or sources), both in order, are cut into as many equal runs, and
    the classes of a run are divided among its users: with 2, no user of the first half shares a class with one of the
    second half; of data half of which are `inverted`, the first half has plain images, the second inverted ones."""

    def split(self, labels: Integers, users: int, streams: Streams) -> list[Integers]:
        kinds = np.unique(labels)
        if self.groups > min(users, len(kinds)):
            raise ValueError(f"groups = {self.groups} cannot be made of {users} users and {len(kinds)} classes")
        runs = zip(np.array_split(kinds, self.groups), np.array_split(np.arange(users), self.groups), strict=True)
        return [part for own, members in runs for part in self._divided(labels, own, members, streams)]

    def _divided(self, labels: Integers, kinds: Integers, members: Integers, streams: Streams) -> list[Integers]:
        """Rows of each of the users `members`, consecutive numbers, among whom some classes are divided."""
        first, users = int(members[0]), len(members)
        require_samples(int(np.isin(labels, kinds).sum()), users, self.min_samples)
        parts: list[list[Integers]] = [[] for _ in members]
        for label in kinds:
            rows = streams.generator("partition", "rows", int(label)).permutation(np.flatnonzero(labels == label))
            shares = dirichlet(self.alpha, users, streams, int(label), first)
            for part, piece in zip(parts, np.split(rows, borders(shares, len(rows))), strict=True):
                part.append(piece)
        return with_minimum([np.concatenate(part) for part in parts], self.min_samples, streams, first)


@dataclass(frozen=True)
class Shards:
    """Label skew: samples sorted by class are cut into equal shards; every user gets the same number of them."""

    # McMahan et al., arXiv 1602.05629, section 3 ("pathological non-IID").

    per_user: Annotated[int, Ge(1)] = 2
    """Shards per user, which is about its number of classes."""

    def split(self, labels: Integers, users: int, streams: Streams) -> list[Integers]:
        require_samples(len(labels), users, self.per_user)
        shards = np.array_split(np.argsort(labels, kind="stable"), users * self.per_user)
        order = streams.generator("partition", "shards").permutation(len(shards)).reshape(users, self.per_user)
        return [np.sort(np.concatenate([shards[shard] for shard in mine])) for mine in order]


@dataclass(frozen=True)
class QuantitySkew:
    """Quantity skew: IID classes, numbers of samples in Dirichlet(alpha) proportions."""

    # Li et al., Federated learning on non-IID data silos, arXiv 2102.02079, section 3.

    alpha: Annotated[float, Gt(0)] = 0.5
    """Concentration parameter; smaller values give more unequal numbers."""

    min_samples: Annotated[int, Ge(1)] = 10
    """Minimum number of samples of a user; missing ones are taken from the users with the most samples."""

    def split(self, labels: Integers, users: int, streams: Streams) -> list[Integers]:
        require_samples(len(labels), users, self.min_samples)
        rows = streams.generator("partition", "rows").permutation(len(labels))
        shares = dirichlet(self.alpha, users, streams, "quantity")
        return with_minimum(np.split(rows, borders(shares, len(rows))), self.min_samples, streams)


@dataclass(frozen=True)
class Natural:
    """By source: all samples of a source (a role of a play; a class, if data have no sources) belong to one user."""

    # Caldas et al., LEAF, arXiv 1812.01097: users as the data have them.

    def split(self, labels: Integers, users: int, streams: Streams) -> list[Integers]:
        """Assign sources in order of decreasing size, each to the user with the fewest samples so far."""
        sources, sizes = np.unique(labels, return_counts=True)
        if len(sources) < users:
            raise ValueError(f"the samples come from {len(sources)} sources, too few for {users} users")
        owned, filled = {}, np.zeros(users, dtype=np.int64)
        for source in np.argsort(-sizes, kind="stable"):
            user = owned[source] = int(filled.argmin())
            filled[user] += sizes[source]
        owner = np.array([owned[source] for source in range(len(sources))])[np.searchsorted(sources, labels)]
        return [np.flatnonzero(owner == user) for user in range(users)]


@dataclass(frozen=True)
class Shared:
    """Users that share samples: each draws its own from all training samples, independently of all other users.

    There may be more users than samples. Nothing is computed for a user that never takes part.
    """

    samples: Annotated[int, Ge(1)] = 50
    """Number of samples of a user, all different; at most as many as there are."""

    alpha: Annotated[float, Gt(0)] | None = None
    """Concentration parameter of the Dirichlet distribution of a user's classes, as in `dirichlet`; null draws all
    samples with the same probability. A user that would need more samples of a class than there are has all of them."""

    def split(self, labels: Integers, users: int, streams: Streams) -> Sequence[Integers]:
        require_samples(len(labels), 1, self.samples)
        kinds = [np.flatnonzero(labels == label) for label in np.unique(labels)] if self.alpha is not None else []
        return _Shares(users, lambda user: self._rows(user, len(labels), kinds, streams))

    def _rows(self, user: int, samples: int, kinds: Sequence[Integers], streams: Streams) -> Integers:
        generator = streams.generator("partition", "shared", user)
        if self.alpha is None:
            return np.sort(generator.choice(samples, self.samples, replace=False))
        counts = generator.multinomial(self.samples, generator.dirichlet([self.alpha] * len(kinds)))
        pairs = zip(kinds, counts, strict=True)
        return np.sort(np.concatenate([generator.choice(rows, min(n, len(rows)), replace=False) for rows, n in pairs]))


class _Shares(Sequence[Integers]):
    """The rows of each user, drawn when they are needed."""

    def __init__(self, users: int, draw: Callable[[int], Integers]) -> None:
        self._users, self._draw = users, draw

    def __len__(self) -> int:
        return self._users

    def __getitem__(self, user: int) -> Integers:  # type: ignore[override]  # no slices
        if not 0 <= user < self._users:
            raise IndexError(user)
        return self._draw(user)


def among(rows: Integers, shares: Sequence[Integers]) -> Sequence[Integers]:
    """Row numbers of each user where `shares` are positions in `rows`: the samples that are divided are these alone."""
    return _Shares(len(shares), lambda user: rows[shares[user]])


def held_out_shares(
    shares: Sequence[Integers], kinds: Integers, test_kinds: Integers, streams: Streams
) -> list[Integers]:
    """Divide the test samples among users so that each has the mixture of classes or sources that it trains on.

    The test samples of a kind (a class or source) are divided in proportion to the users' training samples of that
    kind, whichever law has divided these. Whole samples are assigned by systematic sampling in random order: the
    expected number of each user is its exact share, and the number is one of the two integers next to that.

    Args:
        shares: row numbers of the training samples of each user.
        kinds: kind of each training sample, (n,).
        test_kinds: kind of each test sample, (n,); those of a kind that nobody trains on are left out.
        streams: random streams.

    Returns:
        Row numbers of the test samples of each user, ascending and disjoint. All users have at least one if there are
        as many samples as users.
    """
    found, takers = [NO_ROWS], [NO_ROWS]
    drawn = list(shares)
    owners = np.repeat(np.arange(len(drawn)), [len(rows) for rows in drawn])
    of_owners = kinds[np.concatenate(drawn)]
    for kind in np.unique(test_kinds):
        owned = np.bincount(owners[of_owners == kind], minlength=len(drawn))
        if not owned.any():
            continue
        generator = streams.generator("test partition", int(kind))
        found.append(generator.permutation(np.flatnonzero(test_kinds == kind)))
        order = generator.permutation(len(shares))
        ends = np.floor(owned[order].cumsum() / owned.sum() * len(found[-1]) + generator.random()).astype(np.int64)
        ends[-1] = len(found[-1])
        takers.append(np.repeat(order, np.diff(ends, prepend=0)))
    rows, users = np.concatenate(found), np.concatenate(takers)
    rows, counts = rows[np.lexsort((rows, users))], np.bincount(users, minlength=len(drawn))
    ends = counts.cumsum()
    divided = [rows[begin:end] for begin, end in zip((ends - counts).tolist(), ends.tolist(), strict=True)]
    enough = sum(map(len, divided)) >= len(divided)
    return with_minimum(divided, 1, streams) if enough else divided


def require_samples(samples: int, users: int, minimum: int) -> None:
    """Raise ValueError unless all users can have `minimum` samples."""
    if samples < users * minimum:
        raise ValueError(f"{samples} training samples are too few to give {users} users at least {minimum} each")


def dirichlet(alpha: float, users: int, streams: Streams, what: int | str, first: int = 0) -> NDArray[np.float64]:
    """Dirichlet(alpha, ..., alpha) shares of `users` users, numbered from `first`.

    They are normalised gamma variables, each from the user's own stream.

    Computed in logarithms, as gamma(alpha) = gamma(alpha + 1) U^(1/alpha) underflows for small alpha.
    """
    logs = np.empty(users)
    for user in range(users):
        generator = streams.generator("partition", "share", what, first + user)
        logs[user] = np.log(generator.standard_gamma(alpha + 1)) - generator.standard_exponential() / alpha
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


def borders(shares: NDArray[np.float64], samples: int) -> Integers:
    """Indices at which to cut `samples` rows into pieces of the given shares, each exact to within one sample."""
    return np.round(np.cumsum(shares)[:-1] * samples).astype(np.int64)


def with_minimum(parts: Sequence[Integers], minimum: int, streams: Streams, first: int = 0) -> list[Integers]:
    """Move random samples, one at a time from the user with the most, until all users have `minimum`.

    `parts` are the rows of users with consecutive numbers from `first`.
    """
    owned = [
        list(streams.generator("partition", "spare", user).permutation(part)) for user, part in enumerate(parts, first)
    ]
    for mine in owned:
        while len(mine) < minimum:
            mine.append(max(owned, key=len).pop())
    return [np.sort(np.array(mine, dtype=np.int64)) for mine in owned]


PARTITIONS: dict[str, type] = {
    "iid": Iid,
    "dirichlet": Dirichlet,
    "shards": Shards,
    "quantity_skew": QuantitySkew,
    "natural": Natural,
    "shared": Shared,
    "flower": FlowerPartition,
}
