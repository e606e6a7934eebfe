"""The interface of a shared band, written once for both fidelities: `FlowMedium` and `SlotMedium`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Protocol

import simpy

from netsim.radio.handover_gap import HandoverGap
from netsim.radio.link import Carrying
from netsim.radio.scheduling import Receivers, Scheduler, SchedulingGrant

COMPLETE = 1e-9
"""A transmission is over when no more than this part of it is missing: rating anew leaves rounding errors of 1e-13."""


class Transmission(Protocol):
    """An ongoing transmission. `done` succeeds when all bits have arrived, or when the radio link has failed."""

    link: Carrying

    @property
    def stream(self) -> Hashable | None:
        """Transmissions of one stream are receptions of one rateless-coded signal; None is a signal of its own."""
        ...

    @property
    def handover_gap(self) -> HandoverGap:
        """Time between two stations."""
        ...

    @property
    def receivers(self) -> Receivers:
        """Numbers of the users that it serves: one, or all of a multicast at one rate."""
        ...

    @property
    def start_s(self) -> float:
        """Simulated time in seconds at which it began."""
        ...

    @property
    def done(self) -> simpy.Event:
        """Happens when the transmission is complete, or its radio link has failed."""
        ...

    @property
    def delivered_bits(self) -> float:
        """Bits that have arrived; it holds after `update`, and once the transmission is over."""
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
        """Whether the transmission was given up because the radio link has failed; `done` has happened then as well."""
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
    """One direction of one station's band. All bands of a direction have one fidelity."""

    changed: Callable[[], None] | None
    """Called, if set, at each new division of the band; it must have `apply` called at the same instant."""

    @property
    def env(self) -> simpy.Environment: ...

    @property
    def bandwidth_hz(self) -> float: ...

    @property
    def scheduler(self) -> Scheduler: ...

    def begin(
        self,
        link: Carrying,
        receivers: Receivers,
        bits: float,
        radiate: Callable[[float], None] | None = None,
        stream: Hashable | None = None,
    ) -> Transmission:
        """Start to transmit `bits` > 0; wait for `done`, then (or when interrupted) call `end`.

        `radiate` is called with the part of the sender's power that is on the air whenever that changes; at first it is
        nothing. All transmissions of one `stream` are scheduled as one and have the same part of it, in which each
        receives at the rate of its own link.
        """
        ...

    def update(self, transmission: Transmission) -> None:
        """Bring the figures of a transmission under way up to now."""
        ...

    def end(self, transmission: Transmission) -> None:
        """Leave the band, complete or not. Afterwards `delivered_bits` holds."""
        ...

    def suspend(self, transmission: Transmission) -> None:
        """Take a transmission off the air until `resume`, perhaps at another station; a complete one is over."""
        ...

    def resume(self, transmission: Transmission) -> None:
        """Go on with the rest of a transmission that was suspended in this band or another of the same fidelity."""
        ...

    def attach(self, user: int) -> None:
        """A user belongs to the station from now on."""
        ...

    def detach(self, user: int) -> None:
        """A user belongs to the station no more."""
        ...

    def links_changed(self) -> None:
        """Evaluate the links of all transmissions under way anew: their gains have changed."""
        ...

    def reconsider(self) -> None:
        """Divide the band anew: what the scheduler goes by has changed."""
        ...

    def sending(self) -> Iterator[tuple[Sequence[Transmission], SchedulingGrant]]:
        """The signals on the air, each with the part of the band that it has from now on.

        A signal is one transmission, or all those of a stream.
        """
        ...

    def apply(self, stale: Iterable[Transmission] = ()) -> None:
        """Go by the new division, and evaluate anew the links of `stale` transmissions, whose noise has changed."""
        ...
