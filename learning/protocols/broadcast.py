"""One message to all users of a round, sent while the straggler policy's clock runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import simpy

from learning.codecs import Bundle, Codec
from learning.parties import PLAIN, User
from learning.ports import Process
from learning.world import World


class Broadcast:
    """A message that the aggregator transmits once to several users, beginning when the first of them waits for it.

    Every user has it when the last has it; with `Server.broadcast_rateless` each goes on by itself.

    Args:
        world: the world.
        users: the receivers.
        what: the weights, or other values, that are sent.
        kind: what the message is called in the table `transfers`.
        codec: its size; it must be lossless.
    """

    def __init__(
        self, world: World, users: Sequence[User], what: Any, kind: str, codec: Codec | Bundle = PLAIN
    ) -> None:
        self.world, self.what = world, what
        self._work = _until_interrupted(world.server.broadcast(users, what, kind, codec))
        self._process: simpy.Process | None = None

    def reaches(self, user: User) -> Process[bool]:
        """Wait until the transmission is over; returns whether the user received all of it."""
        if self._process is None:
            self._process = self.world.env.process(self._work)
        return user in (yield self._process)

    def withdraw(self) -> Process[None]:
        """Interrupt a transmission that is still under way, since the round is over."""
        if self._process is not None and self._process.is_alive:
            self._process.interrupt("the round is over")
            yield self._process


def _until_interrupted(work: Process[dict[User, Any]]) -> Process[dict[User, Any]]:
    try:
        return (yield from work)
    except simpy.Interrupt:
        return {}
