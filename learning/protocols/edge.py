"""Edge servers between users and the aggregator. [client-edge-cloud: Liu, Zhang, Song, Letaief, ICC 2020, kappa_2 = 1]

aggregator -> edge server   model                      once for all users of the server
edge server <-> users       as the scheme says
edge server                 mean of its users' models
edge server -> aggregator   mean                       see `learning.protocols.updates.merge`
aggregator                  mean of the means, weighted by what is in them

A user works with the server that is nearest when its round begins, and keeps it for the round: if it is handed over to
another station meanwhile, its messages cross the backhaul. Where there is no server at its station, it works with the
aggregator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import simpy

from learning.parties import Message, Server, User
from learning.ports import Process, Timed
from learning.world import World

T = TypeVar("T")


class EdgeDownloads:
    """Downloads of the aggregator's model to the edge servers that the users of a round work with, side by side."""

    def __init__(self, world: World, users: Sequence[User], model: Message) -> None:
        self._sent: dict[Server, simpy.Process] = {}
        if world.nearest is None:
            return
        theirs: dict[Server, list[User]] = {}
        for user in users:
            user.server = world.nearest(user)
            theirs.setdefault(user.server, []).append(user)
        for server, own in theirs.items():
            if server is not world.server:
                work = _until_interrupted(world.server.forward(server, model, "model", own))
                self._sent[server] = world.env.process(work)

    def then(self, user: User, work: Process[T]) -> Process[T]:
        """Wait until the user's server has the model, then do the user's work; returns what that returns."""
        return self._after(self._sent[user.server], work) if user.server in self._sent else work

    def _after(self, sent: simpy.Process, work: Process[T]) -> Process[T]:
        yield sent
        return (yield from work)

    def cancel(self) -> None:
        """Interrupt the downloads under way, since the round is over."""
        for process in self._sent.values():
            if process.is_alive:
                process.interrupt("the round is over")


def _until_interrupted(work: Process[object]) -> Timed:
    try:
        yield from work
    except simpy.Interrupt:
        return
