"""One message to all users of a round, and streams of symbols that each user decodes by itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import simpy

from learning.codecs import Bundle, Codec
from learning.parties import PLAIN, Message, Server, User
from learning.ports import Heard, Process
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


class SymbolStream:
    """A value as a stream of modulated symbols of a rateless code, which each user decodes by itself.

    Args:
        server: the sender.
        to: the receivers.
        what: the value that is encoded, which crosses the backhaul to the stations.
        kind: what the stream is, for the table `transfers`.
        deadline_s: seconds after which the stream ends, from when the first user listens; inf is never.
        max_energy_j: energy in J that each receiver's radio may spend on listening; inf is no limit.
        steady: whether the stream is on the air until `end` or the deadline; otherwise it is while a user listens.
    """

    def __init__(
        self,
        server: Server,
        to: Sequence[User],
        what: Message,
        kind: str,
        deadline_s: float = inf,
        max_energy_j: float = inf,
        steady: bool = False,
    ) -> None:
        bits, nodes = server.wire.bits(what, PLAIN), [user.node for user in to]
        self._broadcast = server.node.broadcast_symbols(nodes, bits, kind, deadline_s, max_energy_j, steady)

    def hear(self, user: User, symbols: float) -> Process[Sequence[Heard]]:
        """Listen to so many symbols from now on.

        Args:
            user: one of the receivers.
            symbols: number of symbols after which it stops.

        Returns:
            How many symbols the user has heard at which signal-to-noise ratio, in order; fewer if the stream or the
            energy ends first.
        """
        return self._broadcast.hear(user.node, symbols)

    def end(self) -> None:
        """End the stream: the sender stops. Users that ask for more hear nothing."""
        self._broadcast.end()
