"""The party that calls experts with a user's tokens: the user's device, or the server at its station.

With the gate at the user, messages between the user and a site cross the radio and the backhaul. With the gate at the
station, those between its server and a site cross the backhaul alone; experts of that server are reached without any.
[Gate at the base station: Xue et al., arXiv 2411.06681]
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log2
from typing import Protocol

from learning.executor.base import OperationPlan
from learning.parties import Server, User
from learning.ports import Channel, Timed

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
        """Expected rates in bit/s of the radio links to the station and back, for `call_s`."""
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
        return radio_bps(self.user)


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


def radio_bps(user: User) -> tuple[float, float]:
    """Rates of a user's uplink and downlink in bit/s if it has the whole band: Shannon's, by the gain's average."""
    return _rate_bps(user.node.uplink), _rate_bps(user.node.downlink)


def call_s(
    user: User, site: Server, bits_up: float, plan: OperationPlan, bits_down: float, rates_bps: tuple[float, float]
) -> tuple[float, float]:
    """Expected delay in s of a call of a site if radio, lines and processor are idle, and the work's part of it.

    Args:
        user: the user; a site on its own device takes the work alone.
        site: the site; one on another user's device is taken to be at that user's station.
        bits_up: size of the message.
        plan: the work.
        bits_down: size of the answer.
        rates_bps: rates of the radio links; inf for a call from the station.
    """
    work_s = user.wire.work_s(site.node, plan)
    if site.node.is_on(user.node):
        return work_s, work_s
    radio_s = bits_up / rates_bps[0] + bits_down / rates_bps[1]
    lines_s = user.node.backhaul_s(site.node, bits_up) + user.node.backhaul_s(site.node, bits_down)
    return radio_s + lines_s + work_s, work_s


def _rate_bps(channel: Channel) -> float:
    bandwidth_hz = channel.bandwidth_hz
    return bandwidth_hz * log2(1 + channel.max_power_w * channel.gain_over_noise_hz_per_w / bandwidth_hz)
