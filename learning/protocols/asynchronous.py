"""Asynchronous training: each user downloads the current model, trains, uploads, and begins its next local round.

The number of users that train at a time, the concurrency of FedBuff, is that of `participants`. A user that has
uploaded makes room for the user that the participation rule chooses next among those that are present and idle. When a
device becomes unavailable its work is lost, and its place goes to another user, or waits for the first that returns.

Nothing is copied when a model is downloaded: weights are never changed, they are replaced. A user therefore computes
with the weights that it downloaded, whatever the server's are by now.

The table `decisions` shows that it does. A version of the server's model is named by a hash of its history: which
user's which local round, begun with which version, was merged in which order. `weights_downloaded` is the version that
a user was given; `weights_used` is the version whose weights are among the operands of an operation of the user, or of
the server on its behalf, which is recognised by the identity of these tensors and not by what a scheme says. In each
local round that is completed both are the same.
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
"""Size of a version's name, which is thus exact as a floating-point number in the table `decisions`."""


class Version(NamedTuple, Generic[M]):
    """The server's model between two updates of it."""

    number: int
    """Updates made before it."""
    model: M
    """Its weights."""
    name: int
    """Hash of its history."""


class Upload(NamedTuple, Generic[M]):
    """What a user uploaded, until an update of the server's model is made of it."""

    user: User
    local_round: int
    """Number of the user's local round in which it was trained, from 0."""
    model: M
    """Weights as the server received them."""
    version: Version[M]
    """The version that was trained."""
    merged: simpy.Event
    """Happens when the update has been made."""

    def update(self, number: int) -> Update[M]:
        """The upload as part of update `number` of the server's model."""
        return Update(self.user, self.local_round, self.model, self.version.model, number - self.version.number)


class AsynchronousCohort(Generic[M]):
    """The users of a world under an asynchronous policy.

    Args:
        world: the world; its policy says how many uploads make an update, its participation rule how many users train
            at a time.
        work: one local round of a user: download, training, upload.
    """

    def __init__(self, world: World, work: Work[M]) -> None:
        self.world, self.work = world, work
        self.needed = world.policy.needed(world.cohort_size)
        """Uploads that make an update."""
        self._name = world.streams.key("weights of the server") >> 64 - NAME_BITS
        self._version: Version[M]
        """The current version, from the first call of `updates` on."""
        self._idle: dict[User, None] = dict.fromkeys(world.users)
        """Users that are not in a local round; an ordered set."""
        self._workers: list[simpy.Process] = []
        self._chosen = 0
        """How often a user has been chosen to begin a local round."""
        self._local_rounds: Counter[User] = Counter()
        """Local rounds that each user has begun."""
        self._training: dict[int, Version[M]] = {}
        """Number of a user in a local round -> the version that it downloaded."""
        self._recorded: dict[int, set[int]] = {}
        """Number of a user -> names of the versions recorded as used in its latest local round."""
        self._uploads: list[Upload[M]] = []
        """Uploads that wait for an update, in the order of their arrival."""
        self._merging: list[Upload[M]] = []
        """Uploads of which the next version is made."""
        self._lost = 0
        """Local rounds interrupted since the last update."""
        self._active = world.cohort_size
        """Workers from which an upload may still come before the next update."""
        self._change = world.env.event()
        """Happens when a worker has uploaded or ended."""
        self._over = False
        world.server.wire.witness = self._record_use
        world.at_end.append(self._stop)

    def updates(self, number: int, model: M) -> Process[list[Update[M]]]:
        """Publish the server's model and collect what the next update is made of, ordered by user and local round.

        These are the first uploads, as many as the policy needs; fewer if no more can come.

        Args:
            number: updates made so far.
            model: the server's model after these.
        """
        self._publish(number, model)
        if not self._workers:
            self._workers = [self.world.env.process(self._worker()) for _ in range(self.world.cohort_size)]
        while len(self._uploads) < self.needed and self._active:
            self._change = self.world.env.event()
            yield self._change
        self._merging, self._uploads = self._uploads[: self.needed], self._uploads[self.needed :]
        updates = [upload.update(number) for upload in self._merging]
        asked = len(updates) + self._lost or len(self._workers)  # if all users are gone, all were asked in vain
        self.world.report_participation(len(updates), asked, fmean([update.staleness for update in updates] or [0]))
        self._lost = 0
        return sorted(updates, key=lambda update: (update.user.number, update.local_round))

    def _publish(self, number: int, model: M) -> None:
        """Let users download this version from now on, and let those that waited for it continue."""
        history = [(upload.user.number, upload.local_round, upload.version.name) for upload in self._merging]
        if history:
            self._name = version_name(self._name, history)
        self._version = Version(number, model, self._name)
        for upload in self._merging:
            self._active += bool(upload.merged.callbacks)
            upload.merged.succeed()
        self._merging = []

    def _worker(self) -> Process[None]:
        """Local rounds of one user after another, until the run is over or all idle users are gone."""
        while not self._over:
            user = None
            try:
                user = yield from self._next_user()
                if user is None:
                    break
                yield from self._hand_in((yield from self._local_round(user)))
            except simpy.Interrupt as interrupt:
                clear_frames(interrupt.__traceback__)  # releases values at once
            if user is not None:
                self._idle[user] = None
        self._active -= 1
        self._notify()

    def _next_user(self) -> Process[User | None]:
        """Choose an idle user that is present, waiting for one if need be; None if all idle users are gone for good."""
        while not (present := [user for user in self._idle if not user.node.away]):
            returns = [user.node.back for user in self._idle if not user.node.gone]
            if not returns:
                return None
            yield self.world.env.any_of(returns)
        (user,) = self.world.choose(present, 1, self._chosen, self._chosen)
        self._chosen += 1
        del self._idle[user]
        return user

    def _local_round(self, user: User) -> Process[Upload[M]]:
        """One local round of a user, from the current version; raises simpy.Interrupt if its device goes away."""
        number, version, journal = self._local_rounds[user], self._version, self.world.journal
        self._local_rounds[user] += 1
        self._training[user.number] = version
        self._recorded[user.number] = set()
        journal.begin_local_round(user.number, number)
        journal.decision(user.number, "weights_downloaded", version.name)
        try:
            model = yield from user.node.attend(self.work(user, number, version.model))
        except simpy.Interrupt:
            self._lost += 1
            raise
        finally:
            del self._training[user.number]
        return Upload(user, number, model, version, self.world.env.event())

    def _hand_in(self, upload: Upload[M]) -> Process[None]:
        """Add an upload to those of the next update; wait for that if the policy says so, or if it is complete."""
        self._uploads.append(upload)
        self._notify()
        if self.world.policy.waits or len(self._uploads) % self.needed == 0:
            self._active -= 1
            yield upload.merged

    def _notify(self) -> None:
        if not self._change.triggered:
            self._change.succeed()

    def _stop(self) -> None:
        """End the run: local rounds under way are interrupted, which writes their rows to the tables."""
        self._over = True
        for worker in self._workers:
            if worker.is_alive:
                worker.interrupt("the run is over")

    def _record_use(self, user: int, operands: Sequence[object]) -> None:
        """Record whose weights are among the operands of a user's operation: of its version, or of the current one."""
        for version in (self._training.get(user), self._version):
            if version is None or version.name in self._recorded[user]:
                continue
            weights = tree_leaves(version.model)
            if any(operand is weight for operand in operands for weight in weights):
                self._recorded[user].add(version.name)
                self.world.journal.decision(user, "weights_used", version.name)


def version_name(before: int, history: Sequence[tuple[int, int, int]]) -> int:
    """The name of the version that follows on another one, of NAME_BITS bits.

    Args:
        before: the other version's name.
        history: the uploads that were merged into it, in their order: number of the user, number of its local round,
            and name of the version that it had downloaded.
    """
    digest = blake2b(repr((before, history)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 64 - NAME_BITS
