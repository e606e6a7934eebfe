"""Users that go on by themselves: each downloads the server's present model, works, hands in, and begins anew.

As many work at a time as `participants` wants: each has a seat, and whoever has handed in leaves it to the user that
the rule of participation names among those without one that are there. When a device goes away its work is lost, and
the seat is somebody else's, or waits for whoever returns first.

Nothing is copied when a model is downloaded: weights are never changed, they are replaced, so a user computes with
those that it downloaded, whatever has become of the server's since.

The table `decisions` bears witness. A version of the server's model is named by a hash of its history: which user's
which turn, begun with which version, was merged in which order. `weights_downloaded` is the name of what was handed to
the user; `weights_used` is noted where an operation of the user's, or the server's for it, is given the weights of a
version, which is told by their identity, not by what a scheme believes that they are. In every turn that comes to its
end both are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from statistics import fmean
from traceback import clear_frames
from typing import Generic, NamedTuple

import simpy
from torch.utils._pytree import tree_leaves

from learning.parties import User
from learning.ports import Process
from learning.protocols.updates import M, Update, Work
from learning.world import World

NAME_BITS = 52
"""Of a version's name: exact as a floating-point number."""


class Version(NamedTuple, Generic[M]):
    """The server's model between two updates."""

    number: int
    """Updates before it."""
    model: M
    name: int
    """Hash of its history."""


class Arrival(NamedTuple, Generic[M]):
    """Work that was handed in and waits for an update."""

    user: User
    turn: int
    model: M
    version: Version[M]
    """What it had been begun with."""
    merged: simpy.Event
    """Happens when the update with this work has been made."""

    def update(self, number: int) -> Update[M]:
        """As seen after `number` updates."""
        return Update(self.user, self.turn, self.model, self.version.model, number - self.version.number)


class AsynchronousCohort(Generic[M]):
    """Users at work, each by itself, under an asynchronous policy."""

    def __init__(self, world: World, work: Work[M]) -> None:
        self.world, self.work = world, work
        self.needed = world.policy.needed(world.wanted)
        self._name = world.streams.key("weights of the server") >> 64 - NAME_BITS
        self._version: Version[M]
        """The present one, from the first call of `updates` on."""
        self._free: dict[User, None] = dict.fromkeys(world.users)
        self._seats: list[simpy.Process] = []
        self._chosen = 0
        self._turns: Counter[User] = Counter()
        self._in_hand: dict[int, Version[M]] = {}
        self._noted: dict[int, set[int]] = {}
        self._arrived: list[Arrival[M]] = []
        self._merging: list[Arrival[M]] = []
        self._lost = 0
        self._working = world.wanted
        """Seats from which something may still come: not those that wait for an update, or were left for ever."""
        self._news = world.env.event()
        self._over = False
        world.server.wire.witness = self._witness
        world.at_end.append(self._dismiss)

    def updates(self, number: int, model: M) -> Process[list[Update[M]]]:
        """The first to arrive: as many as the policy needs for an update, or fewer if no more can come."""
        self._publish(number, model)
        if not self._seats:
            self._seats = [self.world.env.process(self._seat()) for _ in range(self.world.wanted)]
        while len(self._arrived) < self.needed and self._working:
            self._news = self.world.env.event()
            yield self._news
        self._merging, self._arrived = self._arrived[: self.needed], self._arrived[self.needed :]
        updates = [arrival.update(number) for arrival in self._merging]
        asked = len(updates) + self._lost or len(self._seats)  # with all gone, everybody was asked in vain
        self.world.took_part(len(updates), asked, fmean([update.staleness for update in updates] or [0]))
        self._lost = 0
        return sorted(updates, key=lambda update: (update.user.number, update.turn))

    def _publish(self, number: int, model: M) -> None:
        """From now on users download this; those that waited for it go on."""
        history = [(arrival.user.number, arrival.turn, arrival.version.name) for arrival in self._merging]
        if history:
            self._name = named(self._name, history)
        self._version = Version(number, model, self._name)
        for arrival in self._merging:
            self._working += bool(arrival.merged.callbacks)
            arrival.merged.succeed()
        self._merging = []

    def _seat(self) -> Process[None]:
        """One user after another, until the run is over or nobody is left."""
        while not self._over:
            user = None
            try:
                user = yield from self._next()
                if user is None:
                    break
                yield from self._hand_in((yield from self._turn(user)))
            except simpy.Interrupt as interrupt:
                clear_frames(interrupt.__traceback__)  # lets go of values at once
            if user is not None:
                self._free[user] = None
        self._working -= 1
        self._tell()

    def _next(self) -> Process[User | None]:
        """Wait for a user that has no seat and is there; None if all that have none are gone for ever."""
        while not (present := [user for user in self._free if not user.node.away]):
            coming = [user.node.back for user in self._free if not user.node.gone]
            if not coming:
                return None
            yield self.world.env.any_of(coming)
        (user,) = self.world.choose(present, 1, self._chosen, self._chosen)
        self._chosen += 1
        del self._free[user]
        return user

    def _turn(self, user: User) -> Process[Arrival[M]]:
        """Work with the server's present model."""
        number, version, journal = self._turns[user], self._version, self.world.journal
        self._turns[user] += 1
        self._in_hand[user.number] = version
        self._noted[user.number] = set()
        journal.begin_turn(user.number, number)
        journal.decision(user.number, "weights_downloaded", version.name)
        try:
            model = yield from user.node.attend(self.work(user, number, version.model))
        except simpy.Interrupt:
            self._lost += 1
            raise
        finally:
            del self._in_hand[user.number]
        return Arrival(user, number, model, version, self.world.env.event())

    def _hand_in(self, arrival: Arrival[M]) -> Process[None]:
        """Leave work for the next update; wait for that if the policy says so, or if this was all that it needed."""
        self._arrived.append(arrival)
        self._tell()
        if self.world.policy.waits or len(self._arrived) % self.needed == 0:
            self._working -= 1
            yield arrival.merged

    def _tell(self) -> None:
        if not self._news.triggered:
            self._news.succeed()

    def _dismiss(self) -> None:
        """The run is over: what is under way is given up, and so gets its rows in the tables."""
        self._over = True
        for seat in self._seats:
            if seat.is_alive:
                seat.interrupt("the run is over")

    def _witness(self, user: int, operands: Sequence[object]) -> None:
        """Note whose weights are among the operands of a user's work: of what it has in hand, or of the newest."""
        for version in (self._in_hand.get(user), self._version):
            if version is None or version.name in self._noted[user]:
                continue
            weights = tree_leaves(version.model)
            if any(operand is weight for operand in operands for weight in weights):
                self._noted[user].add(version.name)
                self.world.journal.decision(user, "weights_used", version.name)


def named(name: int, history: Sequence[tuple[int, int, int]]) -> int:
    """The name of the version that comes after another one by the work of (user, turn, name of what it began with)."""
    digest = blake2b(repr((name, history)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 64 - NAME_BITS
