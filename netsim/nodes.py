"""Nodes of the network: users' devices and servers, with their work, which takes simulated time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import TypeVar

import simpy

from netsim.analogue import SYMBOL_BITS, transmit_symbols
from netsim.audiences import audiences, staying
from netsim.backhaul import Backhaul
from netsim.faults.presence import DevicePresence, Presence, SitePresence
from netsim.process import Process, together
from netsim.processor import Processor
from netsim.queueing import NO_WEIGHTS, Stay
from netsim.radio.device import Radio
from netsim.rateless import RatelessStream
from netsim.station import Station, Terminus, lines
from netsim.storage import Storage
from netsim.sums import in_order
from netsim.symbol_broadcast import SymbolBroadcast

T = TypeVar("T")


@dataclass(eq=False)
class UserNode:
    """A user's device: processor, radio and energy meter.

    When the device goes away, its work is abandoned, with all messages to and from it, wherever they are:
    simpy.Interrupt is raised in these processes.
    """

    number: int
    station: Station
    """The serving station at present."""
    presence: DevicePresence
    processor: Processor
    uplink: Radio
    downlink: Radio
    memory_bytes: float | None = None
    """Memory of the device in bytes; None is no limit."""
    drops_out_of_memory: bool = False
    """True if a job that does not fit into the memory interrupts the user's work; False lets it run."""
    samples: int | None = field(default=None, init=False)
    """Number of training samples for the table `users`, set by the learning side; None without learning."""

    @property
    def flops_per_s(self) -> float:
        """Nominal speed of the processor in FLOP/s."""
        return self.processor.flops_per_s

    @property
    def memory_bandwidth_bytes_per_s(self) -> float | None:
        """Rate in byte/s at which weights are read from memory; None takes no time."""
        return self.processor.memory_bandwidth_bytes_per_s

    def compute(
        self, flops: float, kind: str, memory_bytes: int = 0, weights_bytes: Mapping[Hashable, float] = NO_WEIGHTS
    ) -> Process[Stay]:
        """Do a job on the device's processor, first come, first served.

        Args:
            flops: floating-point operations; 0 takes no time and leaves no row.
            kind: kind of computation, for the tables.
            memory_bytes: peak memory of the job in bytes.
            weights_bytes: size in bytes of each set of weights that it works with, by name.

        Returns:
            Waiting and service time of the job.

        Raises:
            simpy.Interrupt: the job does not fit into the memory, and the device drops such jobs.
        """
        return self.attend(self._compute(flops, kind, memory_bytes, weights_bytes))

    def _compute(
        self, flops: float, kind: str, memory_bytes: int, weights_bytes: Mapping[Hashable, float]
    ) -> Process[Stay]:
        if self.drops_out_of_memory and self.memory_bytes is not None and memory_bytes > self.memory_bytes:
            self.presence.record_failure("memory")
            raise simpy.Interrupt(f"a job of user {self.number} does not fit into its memory")
        return (yield from self.processor.compute(flops, kind, memory_bytes, self.number, weights_bytes))

    def send(self, to: ServerNode, bits: float, kind: str) -> Process[None]:
        """Send a message to a server: on the uplink to the station, then over the backhaul.

        A server on another user's device is reached over that user's downlink at the end; one on the user's own device
        without a message.

        Args:
            to: the server.
            bits: size of the message; 0 takes no time and leaves no row.
            kind: kind of payload, for the tables.
        """
        return self.attend(to.attend(self._send(to, partial(self.transmit, bits, kind), bits, kind)))

    def _send(self, to: ServerNode, transmit: Callable[[], Process[T]], bits: float, kind: str) -> Process[T | None]:
        if to.is_on(self):
            return None
        transmitted = yield from transmit()
        for line in lines(self.station, to.terminus):
            yield from line.transfer(bits, kind, [self.number])
        if isinstance(to.place, UserNode):
            yield from to.place.receive(bits, kind)
        return transmitted

    def send_analogue(self, to: ServerNode, symbols: float, kind: str) -> Process[float]:
        """Send uncoded real symbols to a server; behind the station they are numbers of `SYMBOL_BITS` bits.

        Returns the signal-to-noise ratio on the uplink, averaged over the airtime. Other arguments as in `send`.
        """
        return self.attend(to.attend(self._send_analogue(to, symbols, kind)))

    def _send_analogue(self, to: ServerNode, symbols: float, kind: str) -> Process[float]:
        transmit = partial(self._transmit_symbols, symbols, kind)
        snr = yield from self._send(to, transmit, SYMBOL_BITS * symbols, kind)
        return inf if snr is None else snr

    def _transmit_symbols(self, symbols: float, kind: str) -> Process[float]:
        return transmit_symbols(self.station.uplink, self.uplink, symbols, kind)

    def transmit(self, bits: float, kind: str) -> Process[None]:
        """Transmit a message of `bits` bits on the uplink to the serving station."""
        return self.attend(self.station.uplink.transfer(self.uplink, bits, kind))

    def receive(self, bits: float, kind: str) -> Process[None]:
        """Receive a message of `bits` bits on the downlink from the serving station."""
        return self.attend(self.station.downlink.transfer(self.downlink, bits, kind))

    def backhaul_s(self, to: ServerNode, bits: float) -> float:
        """Return the time in s that a message to a server takes on idle lines between its station and the server.

        A message back takes the same time, since lines are alike in both directions. Radio links are not included.
        """
        return 0.0 if to.is_on(self) else in_order(line.nominal_s(bits) for line in lines(self.station, to.terminus))

    def attend(self, work: Process[T]) -> Process[T]:
        """Do work that needs the device: simpy.Interrupt is raised in it if the device is away or goes away."""
        return self.presence.attend(work)

    @property
    def away(self) -> bool:
        """True while the device is away."""
        return self.presence.away

    @property
    def gone(self) -> bool:
        """True if the device will never return."""
        return self.presence.gone

    @property
    def back(self) -> simpy.Event:
        """Event of the next return of the device, or of its being gone; a new event after each."""
        return self.presence.back

    def exclude(self, cause: str) -> None:
        """Exclude the device from the run: it is away permanently from now on, by `cause` in the table `outages`."""
        self.presence.steady = False
        self.presence.leave(cause, permanently=True)


@dataclass(eq=False)
class ServerNode:
    """A server: a processor with a queue, and storage.

    When it goes away, its work is abandoned, with all messages to and from it: simpy.Interrupt is raised in these
    processes. What it stores stays there.

    It is at a station, in the core behind all stations, or on a user's device, whose processor it then uses.
    """

    env: simpy.Environment
    processor: Processor
    storage: Storage
    place: Station | UserNode | None = None
    """Station or device of the server; None is the core."""
    to_core: Backhaul | None = None
    """Line to the rest of the core, for a distant server in the core; None takes no time."""
    from_core: Backhaul | None = None
    """Line from the rest of the core, for a distant server in the core; None takes no time."""
    own_presence: SitePresence | None = None
    """Presence of a server that may go away by itself; None for others."""

    @property
    def name(self) -> str:
        """Name of the server in the tables."""
        return self.processor.node

    @property
    def flops_per_s(self) -> float:
        """Nominal speed of each slot in FLOP/s."""
        return self.processor.flops_per_s

    @property
    def terminus(self) -> Terminus:
        """The end of the backhaul at the server: its station, its user's present station, or (in the core) itself."""
        if self.place is None:
            return self
        return self.place.station if isinstance(self.place, UserNode) else self.place

    @property
    def presence(self) -> Presence | None:
        """Its presence, or that of the device that it is on; None if it is always available."""
        return self.place.presence if isinstance(self.place, UserNode) else self.own_presence

    @property
    def away(self) -> bool:
        """True while the server is away."""
        return self.presence is not None and self.presence.away

    @property
    def gone(self) -> bool:
        """True if the server will never return."""
        return self.presence is not None and self.presence.gone

    @property
    def back(self) -> simpy.Event:
        """Event of the next return of a server that is away, or of its being gone; a new event after each."""
        assert self.presence is not None, f"{self.name} is never away"
        return self.presence.back

    @property
    def backlog_s(self) -> float:
        """Work of the jobs that wait or are served, in seconds of all slots at nominal speed."""
        return self.processor.backlog_s

    def attend(self, work: Process[T]) -> Process[T]:
        """Do work that needs the server: simpy.Interrupt is raised in it if the server is away or goes away by itself.

        Work on a user's device attends to the device.
        """
        return work if self.own_presence is None else self.own_presence.attend(work)

    def is_on(self, user: UserNode) -> bool:
        """Return True if the server is on this user's device, so that the user reaches it without a message."""
        return self.place is user

    @property
    def memory_bandwidth_bytes_per_s(self) -> float | None:
        """Rate in byte/s at which each slot reads weights from memory; None takes no time."""
        return self.processor.memory_bandwidth_bytes_per_s

    def compute(
        self,
        flops: float,
        kind: str,
        memory_bytes: int = 0,
        user: int | None = None,
        weights_bytes: Mapping[Hashable, float] = NO_WEIGHTS,
    ) -> Process[Stay]:
        """Do a job on the server's processor.

        Args:
            flops: floating-point operations; 0 takes no time and leaves no row.
            kind: kind of computation, for the tables.
            memory_bytes: peak memory of the job in bytes, for the tables.
            user: number of the user that the job serves; None is no single user.
            weights_bytes: size in bytes of each set of weights that it works with, by name.

        Returns:
            Waiting and service time of the job.
        """
        work = self.processor.compute(flops, kind, memory_bytes, user, weights_bytes)
        return work if self.presence is None else self.presence.attend(work)

    def send(self, to: UserNode, bits: float, kind: str) -> Process[None]:
        """Send a message to a user: over the backhaul to the user's station, then on the downlink.

        From a server on another user's device it crosses that user's uplink first; from one on the user's own device
        there is no message.

        Args:
            to: the user.
            bits: size of the message; 0 takes no time and leaves no row.
            kind: kind of payload, for the tables.
        """
        return to.attend(self.attend(self._send(to, bits, kind)))

    def _send(self, to: UserNode, bits: float, kind: str) -> Process[None]:
        if self.is_on(to):
            return
        yield from self._leave(bits, kind)
        for line in lines(self.terminus, to.station):
            yield from line.transfer(bits, kind, [to.number])
        yield from to.receive(bits, kind)

    def forward(self, to: ServerNode, bits: float, kind: str, users: Sequence[int]) -> Process[None]:
        """Send one message to another server over the backhaul; to itself it takes no time.

        Args:
            to: the other server.
            bits: size of the message; 0 takes no time and leaves no row.
            kind: kind of payload, for the tables.
            users: numbers of the users that it serves, at least one; each has a row in `transfers`.
        """
        if to is not self:
            yield from self.attend(to.attend(self._forward(to, bits, kind, users)))

    def _forward(self, to: ServerNode, bits: float, kind: str, users: Sequence[int]) -> Process[None]:
        yield from self._leave(bits, kind)
        for line in lines(self.terminus, to.terminus):
            yield from line.transfer(bits, kind, users)
        if isinstance(to.place, UserNode):
            yield from to.place.receive(bits, kind)

    def _leave(self, bits: float, kind: str) -> Process[None]:
        """Transmit a message to the station first, if the server is on a user's device."""
        if isinstance(self.place, UserNode):
            yield from self.place.transmit(bits, kind)

    def broadcast(self, to: Sequence[UserNode], bits: float, kind: str) -> Process[list[UserNode]]:
        """Broadcast a message: each station transmits it once to its users among `to`, at the rate of the weakest link.

        Users that are away receive nothing. No receiver is handed over before the broadcast ends.

        Args:
            to: the receivers.
            bits: size of the message; 0 takes no time and leaves no row.
            kind: kind of payload, for the tables.

        Returns:
            When all stations have ended, the users that received the whole message.
        """
        yield from self._leave(bits, kind)
        cells: dict[Station, list[Radio]] = {}
        for user in to:
            cells.setdefault(user.station, []).append(user.downlink)
        works = [self._reach(station, radios, bits, kind) for station, radios in cells.items()]
        with staying([user.downlink for user in to]):
            reached = [(yield from works[0])] if len(works) == 1 else (yield from together(self.env, works))
        heard = {radio.user for radios in reached for radio in radios}
        return [user for user in to if user.number in heard]

    def broadcast_rateless(
        self, to: Sequence[UserNode], bits: float, kind: str, deadline_s: float = inf
    ) -> dict[UserNode, Process[bool]]:
        """Broadcast a message as one rateless-coded stream per station; each user receives at the rate of its own link.

        Args:
            to: the receivers.
            bits: size of the message.
            kind: kind of payload, for the tables.
            deadline_s: seconds after which the stream of a station ends, from the time at which its first receiver
                listens; inf is never.

        Returns:
            For each user a process by which it listens independently: it returns True when this user has received all
            bits, and False if the stream has ended before. It raises simpy.Interrupt as `send` does.
        """
        streams = {
            station: RatelessStream(station.downlink, bits, kind, len(users), deadline_s, fetch)
            for station, users, fetch in audiences(to, partial(self._fetch, bits, kind))
        }
        return {user: user.attend(streams[user.station].receive(user.downlink)) for user in to}

    def broadcast_symbols(
        self,
        to: Sequence[UserNode],
        bits: float,
        kind: str,
        deadline_s: float = inf,
        max_energy_j: float = inf,
        steady: bool = False,
    ) -> SymbolBroadcast:
        """Broadcast a message of `bits` bits as one stream of modulated symbols per station; each user stops by itself.

        A symbol takes 1/2 s per Hz of the band, at any signal-to-noise ratio. Rows of the tables have the symbols of a
        reception as their bits. Arguments and errors are those of `SymbolBroadcast`; `bits` crosses the backhaul.
        """
        return SymbolBroadcast(to, kind, partial(self._fetch, bits, kind), deadline_s, max_energy_j, steady)

    def _fetch(self, bits: float, kind: str, station: Station, users: Sequence[int]) -> Process[None]:
        yield from self._leave(bits, kind)
        for line in lines(self.terminus, station):
            yield from line.transfer(bits, kind, users)

    def _reach(self, station: Station, radios: Sequence[Radio], bits: float, kind: str) -> Process[list[Radio]]:
        for line in lines(self.terminus, station):
            yield from line.transfer(bits, kind, [radio.user for radio in radios])
        return (yield from station.downlink.broadcast(radios, bits, kind))
