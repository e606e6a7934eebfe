"""Users and servers: what spends simulated time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Protocol, TypeVar

import simpy

from netsim.backhaul import Backhaul
from netsim.faults.presence import Presence
from netsim.process import Process
from netsim.processor import Processor
from netsim.queueing import Stay
from netsim.radio.device import Radio
from netsim.rateless import RatelessStream
from netsim.storage import Storage
from netsim.transfer import AirInterface

T = TypeVar("T")


@dataclass(eq=False)
class Station:
    """A base station, with lines to and from the core where there is a backhaul that takes time."""

    number: int
    uplink: AirInterface
    downlink: AirInterface
    to_core: Backhaul | None = None
    from_core: Backhaul | None = None


class Terminus(Protocol):
    """Where the backhaul ends: a station, or a server in the core. None is a line that takes no time."""

    @property
    def to_core(self) -> Backhaul | None: ...

    @property
    def from_core(self) -> Backhaul | None: ...


def lines(origin: Terminus, destination: Terminus) -> list[Backhaul]:
    """The lines that a message crosses from one end of the backhaul to another, in their order."""
    if origin is destination:
        return []
    return [line for line in (origin.to_core, destination.from_core) if line is not None]


@dataclass(eq=False)
class User:
    """A user's device: one processor, one radio, one energy meter.

    What it does is given up when it goes away, and what is on its way to it or from it, wherever that is.
    """

    number: int
    station: Station
    presence: Presence
    processor: Processor
    uplink: Radio
    downlink: Radio
    memory_bytes: float | None = None
    """Memory of the device in bytes; None where nothing limits it."""
    samples: int | None = field(default=None, init=False)
    """Number of training samples, set by the learning side; for the `users` table alone."""

    @property
    def flops_per_s(self) -> float:
        """Nominal speed."""
        return self.processor.flops_per_s

    def compute(self, flops: float, kind: str, memory_bytes: int = 0) -> Process[Stay]:
        """Occupy the processor, first come first served, for as long as its speed and slowdown say."""
        return self.attend(self.processor.compute(flops, kind, memory_bytes, self.number))

    def send(self, to: Server, bits: float, kind: str) -> Process[None]:
        """Transmit `bits` on the uplink to the station, and from there to the server.

        To a server on another user's device they go over that user's downlink at last. To one on the user's own device
        they take no time.
        """
        return self.attend(self._send(to, bits, kind))

    def _send(self, to: Server, bits: float, kind: str) -> Process[None]:
        if to.is_on(self):
            return
        yield from self.transmit(bits, kind)
        for line in lines(self.station, to.terminus):
            yield from line.transfer(bits, kind, [self.number])
        if isinstance(to.place, User):
            yield from to.place.receive(bits, kind)

    def transmit(self, bits: float, kind: str) -> Process[None]:
        """Transmit `bits` to the station."""
        return self.attend(self.station.uplink.transfer(self.uplink, bits, kind))

    def receive(self, bits: float, kind: str) -> Process[None]:
        """Receive `bits` from the station."""
        return self.attend(self.station.downlink.transfer(self.downlink, bits, kind))

    def attend(self, work: Process[T]) -> Process[T]:
        """Do work that needs the device: simpy.Interrupt is raised in it when the device goes away, or if it is."""
        return self.presence.attend(work)

    @property
    def away(self) -> bool:
        """Whether the device is not there."""
        return self.presence.away

    @property
    def gone(self) -> bool:
        """Whether it will never be there again."""
        return self.presence.gone

    @property
    def back(self) -> simpy.Event:
        """Happens when a device that is away returns, or is gone for ever."""
        return self.presence.back

    def exclude(self, cause: str) -> None:
        """The device takes no part in the run: it is away from now on, and for ever."""
        self.presence.steady = False
        self.presence.leave(cause, permanently=True)


@dataclass(eq=False)
class Server:
    """A server: a queue before slots, and storage.

    It is at a station, on a user's device, whose processor it then uses, or in the core behind all stations.
    """

    env: simpy.Environment
    processor: Processor
    storage: Storage
    place: Station | User | None = None
    """None is the core."""
    to_core: Backhaul | None = None
    """The line of a server in the core that is far from the others, and of no other server."""
    from_core: Backhaul | None = None
    """The same in the other direction."""

    @property
    def name(self) -> str:
        """Its name in the tables."""
        return self.processor.node

    @property
    def flops_per_s(self) -> float:
        """Nominal speed of each slot."""
        return self.processor.flops_per_s

    @property
    def terminus(self) -> Terminus:
        """The end of the backhaul at which it is: its station, that of its user at present, or itself."""
        if self.place is None:
            return self
        return self.place.station if isinstance(self.place, User) else self.place

    def is_on(self, user: User) -> bool:
        """Return whether it is on this user's device, so that the user reaches it without a message."""
        return self.place is user

    def compute(self, flops: float, kind: str, memory_bytes: int = 0, user: int | None = None) -> Process[Stay]:
        """Queue for a slot and hold it for the job, on behalf of `user`, if given."""
        work = self.processor.compute(flops, kind, memory_bytes, user)
        return self.place.attend(work) if isinstance(self.place, User) else work

    def send(self, to: User, bits: float, kind: str) -> Process[None]:
        """Transmit `bits` to a user's station, and from there to the user on the downlink.

        From a server on another user's device they go over that user's uplink first. From one on the user's own device
        they take no time.
        """
        return to.attend(self._send(to, bits, kind))

    def _send(self, to: User, bits: float, kind: str) -> Process[None]:
        if self.is_on(to):
            return
        yield from self._leave(bits, kind)
        for line in lines(self.terminus, to.station):
            yield from line.transfer(bits, kind, [to.number])
        yield from to.receive(bits, kind)

    def forward(self, to: Server, bits: float, kind: str, users: Sequence[int]) -> Process[None]:
        """Transmit `bits` once to another server over what lies between them, for one user or several."""
        if to is self:
            return
        yield from self._leave(bits, kind)
        for line in lines(self.terminus, to.terminus):
            yield from line.transfer(bits, kind, users)
        if isinstance(to.place, User):
            yield from to.place.receive(bits, kind)

    def _leave(self, bits: float, kind: str) -> Process[None]:
        """Transmit `bits` to the station, where a server is on a user's device."""
        if isinstance(self.place, User):
            yield from self.place.transmit(bits, kind)

    def broadcast(self, to: Sequence[User], bits: float, kind: str) -> Process[list[User]]:
        """Transmit `bits` once a station to all its users among `to`, at the rate of the worst, block by block.

        Over when every station is done; returns the users that got all of it. Who is away gets nothing. Before that
        none of them is handed over to another station.
        """
        yield from self._leave(bits, kind)
        cells: dict[Station, list[Radio]] = {}
        for user in to:
            cells.setdefault(user.station, []).append(user.downlink)
        works = [self._reach(station, radios, bits, kind) for station, radios in cells.items()]
        with _staying([user.downlink for user in to]):
            reached = [(yield from works[0])] if len(works) == 1 else (yield from self._together(works))
        heard = {radio.user for radios in reached for radio in radios}
        return [user for user in to if user.number in heard]

    def broadcast_rateless(
        self, to: Sequence[User], bits: float, kind: str, deadline_s: float = inf
    ) -> dict[User, Process[bool]]:
        """Transmit `bits` as one rateless-coded stream a station; each user receives at the rate of its own link.

        Args:
            to: the receivers.
            bits: size of the message.
            kind: what the message is, for the table `transfers`.
            deadline_s: seconds after which a station's stream ends, from when its first receiver listens; inf is never.

        Returns:
            For each user a process that it runs to listen, by itself: it is over when this user has received all bits
            (True), or the stream has ended before (False). It raises simpy.Interrupt as `send` does.
        """
        stations = dict.fromkeys(user.station for user in to)
        streams = {station: self._stream(station, to, bits, kind, deadline_s) for station in stations}
        return {user: user.attend(streams[user.station].receive(user.downlink)) for user in to}

    def _stream(
        self, station: Station, to: Sequence[User], bits: float, kind: str, deadline_s: float
    ) -> RatelessStream:
        here = [user for user in to if user.station is station]
        users = [user.number for user in here if not user.away] or [user.number for user in here]

        def fetch() -> Process[None]:
            yield from self._leave(bits, kind)
            for line in lines(self.terminus, station):
                yield from line.transfer(bits, kind, users)

        return RatelessStream(station.downlink, bits, kind, len(users), deadline_s, fetch)

    def _reach(self, station: Station, radios: Sequence[Radio], bits: float, kind: str) -> Process[list[Radio]]:
        for line in lines(self.terminus, station):
            yield from line.transfer(bits, kind, [radio.user for radio in radios])
        return (yield from station.downlink.broadcast(radios, bits, kind))

    def _together(self, works: Sequence[Process[T]]) -> Process[list[T]]:
        processes = [self.env.process(_until_interrupted(work)) for work in works]
        try:
            done = yield self.env.all_of(processes)
        except simpy.Interrupt as interrupt:
            running = [process for process in processes if process.is_alive]
            for process in running:
                process.interrupt(interrupt.cause)
            yield self.env.all_of(running)  # at this very instant
            raise
        return [done[process] for process in processes]


@contextmanager
def _staying(radios: Sequence[Radio]) -> Iterator[None]:
    """A context in which these users keep their stations."""
    for radio in radios:
        radio.staying += 1
    try:
        yield
    finally:
        for radio in radios:
            radio.staying -= 1


def _until_interrupted(work: Process[T]) -> Process[T | None]:
    try:
        return (yield from work)
    except simpy.Interrupt:
        return None  # the process that started it was interrupted, and passes that on
