"""Base stations, and the lines of the backhaul between them and servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from netsim.backhaul import Backhaul
from netsim.transfer import AirInterface


@dataclass(eq=False)
class Station:
    """A base station, or one sector of a site with several."""

    number: int
    uplink: AirInterface
    downlink: AirInterface
    to_core: Backhaul | None = None
    """Line to the core; None takes no time."""
    from_core: Backhaul | None = None
    """Line from the core; None takes no time."""


class Terminus(Protocol):
    """An end of the backhaul: a station, or a server in the core."""

    @property
    def to_core(self) -> Backhaul | None:
        """Line to the core; None takes no time."""
        ...

    @property
    def from_core(self) -> Backhaul | None:
        """Line from the core; None takes no time."""
        ...


def lines(origin: Terminus, destination: Terminus) -> list[Backhaul]:
    """Return the lines that a message crosses from one end of the backhaul to another, in order."""
    if origin is destination:
        return []
    return [line for line in (origin.to_core, destination.from_core) if line is not None]
