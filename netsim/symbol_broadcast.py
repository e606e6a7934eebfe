"""One message to several users as streams of modulated symbols, one from each of their stations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol, TypeVar

from netsim.audiences import Receiver, audiences
from netsim.process import Process
from netsim.radio.device import Radio
from netsim.station import Station
from netsim.symbols import Heard, SymbolStream

T = TypeVar("T")


class Listener(Receiver, Protocol):
    """A user that can listen to a stream."""

    downlink: Radio

    def attend(self, work: Process[T]) -> Process[T]:
        """Run work that needs the device; simpy.Interrupt is raised in it when the device goes away."""
        ...


class SymbolBroadcast:
    """The streams of a message; each user listens as often and as long as it wants, and decodes by itself."""

    def __init__(
        self,
        to: Sequence[Listener],
        kind: str,
        fetch: Callable[[Station, Sequence[int]], Process[None]],
        deadline_s: float = inf,
        max_energy_j: float = inf,
        steady: bool = False,
    ) -> None:
        """Prepare the streams; each starts when the first of its users listens.

        Args:
            to: the receivers.
            kind: kind of payload, for the tables.
            fetch: makes the process that brings the message to a station on behalf of the users of these numbers.
            deadline_s: seconds after which a stream ends, from when the first of its users listens; inf is never.
            max_energy_j: energy in J that the radio of each user may spend on listening; inf is no limit.
            steady: True if streams are on the air until `end` or the deadline, False only while a user listens.

        Raises:
            ValueError: a band is divided slot by slot.
        """
        streams = {
            station: SymbolStream(station.downlink, kind, len(users), deadline_s, bring, steady)
            for station, users, bring in audiences(to, fetch)
        }
        self._streams = {user: streams[user.station] for user in to}
        self._max_energy_j = max_energy_j

    def hear(self, user: Listener, symbols: float) -> Process[list[Heard]]:
        """Listen to so many symbols from now on, as `SymbolStream.hear` has it.

        Args:
            user: one of the receivers.
            symbols: number of symbols after which it stops.

        Raises:
            simpy.Interrupt: the user went away, or was interrupted.
        """
        return user.attend(self._streams[user].hear(user.downlink, symbols, self._max_energy_j))

    def end(self) -> None:
        """End the streams. Users that ask for more symbols hear none."""
        for stream in dict.fromkeys(self._streams.values()):
            stream.end()
