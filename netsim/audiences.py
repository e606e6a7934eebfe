"""The receivers of a broadcast or stream: those at each station, and that they stay there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from netsim.process import Process
from netsim.radio.device import Radio
from netsim.station import Station


class Receiver(Protocol):
    """A user to which a station transmits."""

    number: int
    station: Station

    @property
    def away(self) -> bool:
        """True while the device is away."""
        ...


def audiences(
    to: Sequence[Receiver], fetch: Callable[[Station, Sequence[int]], Process[None]]
) -> Iterator[tuple[Station, Sequence[int], Callable[[], Process[None]]]]:
    """Divide the receivers of a stream among their serving stations.

    Args:
        to: the receivers.
        fetch: makes the process that brings the message to a station on behalf of the users of these numbers.

    Yields:
        Each station, the numbers of its receivers (those that are not away, or all if all are away), and the process
        that brings the message there.
    """
    for station in dict.fromkeys(user.station for user in to):
        here = [user for user in to if user.station is station]
        users = [user.number for user in here if not user.away] or [user.number for user in here]
        yield station, users, partial(fetch, station, users)


@contextmanager
def staying(radios: Sequence[Radio]) -> Iterator[None]:
    """Return a context in which the users of these radios are not handed over."""
    for radio in radios:
        radio.staying += 1
    try:
        yield
    finally:
        for radio in radios:
            radio.staying -= 1
