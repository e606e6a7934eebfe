"""Bandwidth in whole subchannels: a two-sided matching of users and subchannels that no swap improves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from learning.control.precision.problem import Bits, PrecisionProblem
from learning.control.rate import Floats


def match(problem: PrecisionProblem, bits: Bits, power_w: Floats, gains_hz_per_w: Floats) -> Bits:
    """Match users with subchannels, at least one for each user.

    The search ends where neither an exchange of two subchannels nor a move of one lowers the cost.

    Args:
        problem: the problem.
        bits: (users,): bits of an element, fixed.
        power_w: (users,): transmit power, fixed; a user divides it equally among its subchannels.
        gains_hz_per_w: (users, subchannels): gains over the noise power density; all subchannels have the same width.

    Returns:
        (subchannels,): number of the user that has each subchannel.

    Raises:
        ValueError: there are fewer subchannels than users.
    """
    check_subchannels(*gains_hz_per_w.shape)
    table = _Table(problem, bits, power_w, gains_hz_per_w)
    owner = table.first()
    cost = table.cost(owner)
    while True:
        candidate = table.changed(owner)
        now = table.cost(candidate)
        if now >= cost * (1 - 1e-12):
            return owner
        owner, cost = candidate, now


def random_assignment(users: int, subchannels: int, draw: np.random.Generator) -> Bits:
    """(subchannels,): number of the user of each subchannel, assigned at random, at least one for each user.

    Raises ValueError with fewer subchannels than users.
    """
    check_subchannels(users, subchannels)
    return draw.permutation(np.concatenate([np.arange(users), draw.integers(0, users, subchannels - users)]))


def check_subchannels(users: int, subchannels: int) -> None:
    """Raises ValueError with fewer subchannels than users."""
    if subchannels < users:
        raise ValueError(f"{users} users cannot have one of {subchannels} subchannels each")


def cost_of(problem: PrecisionProblem, bits: Bits, power_w: Floats, gains_hz_per_w: Floats, owner: Bits) -> float:
    """The objective of an assignment `owner`, (subchannels,): number of the user of each subchannel."""
    return _Table(problem, bits, power_w, gains_hz_per_w).cost(owner)


@dataclass(frozen=True)
class _Table:
    """Costs of an assignment and of all assignments one change away; an unassigned subchannel has owner -1."""

    problem: PrecisionProblem
    bits: Bits
    power_w: Floats
    gains: Floats

    def cost(self, owner: Bits) -> float:
        return float(self._costs(self._rates(owner, 0)))

    def first(self) -> Bits:
        """The initial assignment: each user's best free subchannel, then each other one where it helps most."""
        users, subchannels = self.gains.shape
        owner = np.full(subchannels, -1)
        for user in range(users):
            owner[int(np.argmax(np.where(owner < 0, self.gains[user], -1.0)))] = user
        for subchannel in np.flatnonzero(owner < 0):
            rates = np.tile(self._rates(owner, 0), (users, 1))
            np.fill_diagonal(rates, self._rates(owner, +1) + self._each(owner, +1)[:, subchannel])
            owner[subchannel] = int(np.argmin(self._costs(rates)))
        return owner

    def changed(self, owner: Bits) -> Bits:
        """The best assignment one exchange or one move away that leaves every user a subchannel."""
        candidates = [self._best_exchange(owner), self._best_move(owner)]
        return min((each for each in candidates if each is not None), key=self.cost, default=owner)

    def _best_exchange(self, owner: Bits) -> Bits | None:
        one, other = np.triu_indices(len(owner), 1)
        apart = owner[one] != owner[other]
        one, other = one[apart], other[apart]
        if not len(one):
            return None
        each, rows = self._each(owner, 0), np.arange(len(one))
        rates = np.tile(self._rates(owner, 0), (len(one), 1))
        for mine, theirs in ((one, other), (other, one)):
            rates[rows, owner[mine]] += each[owner[mine], theirs] - each[owner[mine], mine]
        best = int(np.argmin(self._costs(rates)))
        swapped = owner.copy()
        swapped[[one[best], other[best]]] = owner[[other[best], one[best]]]
        return swapped

    def _best_move(self, owner: Bits) -> Bits | None:
        users = len(self.power_w)
        spare = np.bincount(owner, minlength=users)[owner] > 1
        subchannel, to = np.nonzero(spare[:, None] & (owner[:, None] != np.arange(users)))
        if not len(subchannel):
            return None
        rows, giver = np.arange(len(to)), owner[subchannel]
        rates = np.tile(self._rates(owner, 0), (len(to), 1))
        rates[rows, giver] = self._rates(owner, -1)[giver] - self._each(owner, -1)[giver, subchannel]
        rates[rows, to] = self._rates(owner, +1)[to] + self._each(owner, +1)[to, subchannel]
        best = int(np.argmin(self._costs(rates)))
        moved = owner.copy()
        moved[subchannel[best]] = to[best]
        return moved

    def _each(self, owner: Bits, more: int) -> Floats:
        """(users, subchannels): rate over each, with the user's power divided among `more` subchannels than it has."""
        width_hz = self.problem.total_hz / self.gains.shape[1]
        counts = np.maximum((owner == np.arange(len(self.power_w))[:, None]).sum(axis=1) + more, 1)
        return np.asarray(width_hz * np.log2(1 + (self.power_w / counts)[:, None] * self.gains / width_hz))

    def _rates(self, owner: Bits, more: int) -> Floats:
        """(users,): rate of each user over the subchannels that it has, its power shared as in `_each`."""
        mine = owner == np.arange(len(self.power_w))[:, None]
        return np.asarray((mine * self._each(owner, more)).sum(axis=1))

    def _costs(self, rates: Floats) -> Floats:
        """(...,): the objective at users' rates, (..., users)."""
        second, joule = self.problem.prices
        with np.errstate(divide="ignore"):
            seconds = np.where(rates > 0, self.problem.payload(self.bits) / rates, np.inf)
        return np.asarray(
            second * (self.problem.fixed_s + seconds).max(axis=-1) + joule * (self.power_w * seconds).sum(axis=-1)
        )
