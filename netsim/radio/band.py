"""What both fidelities of a shared band offer: `FlowMedium`, exact between changes, and `SlotMedium`, slot by slot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import simpy

from netsim.radio.handover_gap import HandoverGap
from netsim.radio.link import Carrying
from netsim.radio.sharing import Receivers, Scheduler, SchedulingGrant


class Transmission(Protocol):
    """A transmission. `done` succeeds when all bits have arrived, or when the radio link has failed."""

    link: Carrying

    @property
    def handover_gap(self) -> HandoverGap:
        """Time between two stations."""
        ...

    @property
    def receivers(self) -> Receivers: ...

    @property
    def start_s(self) -> float: ...

    @property
    def done(self) -> simpy.Event: ...

    @property
    def delivered_bits(self) -> float:
        """Holds after `update`, and once the transmission is over."""
        ...

    @property
    def attempts(self) -> int:
        """Blocks sent, retransmissions included; one where there are no blocks."""
        ...

    @property
    def failed(self) -> int:
        """Blocks of these that could not be decoded."""
        ...

    @property
    def failed_link(self) -> bool:
        """Whether it was given up by itself, because the radio link has failed; `done` has happened then as well."""
        ...

    def mean_snr(self) -> float | None:
        """Signal-to-noise ratio averaged over the time with a part of the band; None before there was any."""
        ...

    def mean_power(self) -> float:
        """Part of the sender's power that was on the air, averaged over the time at a station."""
        ...

    def out_of_range(self, now_s: float) -> list[str]:
        """A sentence for each receiver to which nothing will ever get through as things are."""
        ...


class Band(Protocol):
    """One direction of one station's band."""

    changed: Callable[[], None] | None
    """If set, hears of each new division of the band, and sees to it that `apply` is called in the same instant."""

    @property
    def env(self) -> simpy.Environment: ...

    @property
    def bandwidth_hz(self) -> float: ...

    @property
    def scheduler(self) -> Scheduler: ...

    def begin(
        self, link: Carrying, receivers: Receivers, bits: float, radiate: Callable[[float], None] | None = None
    ) -> Transmission:
        """Start to transmit `bits` > 0; wait for `done`, then (or when interrupted) call `end`.

        `radiate` hears what part of the sender's power is on the air whenever that changes; at first it is nothing.
        """
        ...

    def update(self, transmission: Any) -> None:
        """Bring the figures of what is under way up to now."""
        ...

    def end(self, transmission: Any) -> None:
        """Leave the band, complete or not. Afterwards `delivered_bits` holds."""
        ...

    def suspend(self, transmission: Any) -> None:
        """Take what is under way off the air until `resume`, perhaps at another station; what is complete is over."""
        ...

    def resume(self, transmission: Any) -> None:
        """Go on with the rest of a transmission that was suspended here or elsewhere."""
        ...

    def attach(self, user: int) -> None:
        """A user belongs to the station from now on."""
        ...

    def detach(self, user: int) -> None:
        """A user belongs to the station no more."""
        ...

    def links_changed(self) -> None:
        """Look anew at the links of all that is under way: gains are others now."""
        ...

    def reconsider(self) -> None:
        """Divide the band anew: what the scheduler goes by has changed."""
        ...

    def sending(self) -> Iterator[tuple[Transmission, SchedulingGrant]]:
        """What is under way, with what each has of the band from now on."""
        ...

    def apply(self, stale: Iterable[Any] = ()) -> None:
        """Go by the new division, and look anew at the links of what is `stale`."""
        ...
