"""The party that calls experts with a user's tokens: the user's device, or the server at its station.

With the gate at the user, messages between the user and a site cross the radio and the backhaul. With the gate at the
station, those between its server and a site cross the backhaul alone; experts of that server are reached without any.
[Gate at the base station: Xue et al., arXiv 2411.06681]
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Protocol

from learning.parties import Server, User
from learning.ports import Timed

KIND = "token"
"""Kind of the messages, in the table `transfers`."""


class Caller(Protocol):
    """The party that calls experts with a user's tokens."""

    @property
    def user(self) -> User:
        """The user whose tokens they are."""
        ...

    def is_at(self, site: Server) -> bool:
        """Whether it reaches a site without a message."""
        ...

    def send(self, site: Server, bits: float) -> Timed:
        """Send a message of `bits` to a site."""
        ...

    def receive(self, site: Server, bits: float) -> Timed:
        """Receive the answer of a site."""
        ...

    def rates_bps(self) -> tuple[float, float]:
        """Expected rates in bit/s of the radio links to the station and back, as in `User.call_s`."""
        ...


@dataclass(frozen=True)
class UserCaller:
    """The user's device."""

    user: User

    def is_at(self, site: Server) -> bool:
        return site.node.is_on(self.user.node)

    def send(self, site: Server, bits: float) -> Timed:
        return self.user.node.send(site.node, bits, KIND)

    def receive(self, site: Server, bits: float) -> Timed:
        return site.node.send(self.user.node, bits, KIND)

    def rates_bps(self) -> tuple[float, float]:
        return self.user.rates_bps()


@dataclass(frozen=True)
class StationCaller:
    """The server at the user's station."""

    user: User
    server: Server

    def is_at(self, site: Server) -> bool:
        return site is self.server

    def send(self, site: Server, bits: float) -> Timed:
        return self.server.node.forward(site.node, bits, KIND, [self.user.number])

    def receive(self, site: Server, bits: float) -> Timed:
        return site.node.forward(self.server.node, bits, KIND, [self.user.number])

    def rates_bps(self) -> tuple[float, float]:
        return inf, inf
