"""One message to all users of a round, and streams of symbols that each user decodes by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def broadcast_symbols(
    server: Server, to: Mapping[User, int], what: Message, kind: str, deadline_s: float = inf, max_energy_j: float = inf
) -> dict[User, Process[Sequence[Heard]]]:
    """Transmit a value as a stream of modulated symbols of a rateless code, which each user decodes by itself.

    Args:
        server: the sender.
        to: number of symbols after which each receiver stops.
        what: the value that is encoded, which crosses the backhaul to the stations.
        kind: what the stream is, for the table `transfers`.
        deadline_s: seconds after which the stream ends, from when the first user listens; inf is never.
        max_energy_j: energy in J that each receiver's radio may spend on listening; inf is no limit.

    Returns:
        For each user a process to run, `heard = yield from processes[user]`: how many symbols it has heard at which
        signal-to-noise ratio, in order.
    """
    bits = server.wire.bits(what, PLAIN)
    symbols = {user.node: count for user, count in to.items()}
    receptions = server.node.broadcast_symbols(symbols, bits, kind, deadline_s, max_energy_j)
    return {user: receptions[user.node] for user in to}
