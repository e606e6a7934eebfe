"""The interface of a shared band, written once for both fidelities: `FlowMedium` and `SlotMedium`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Protocol

import simpy

from netsim.radio.handover_gap import HandoverGap
from netsim.radio.link import Carrying
from netsim.radio.scheduling import Receivers, Scheduler, SchedulingGrant

COMPLETE = 1e-9
"""Relative size of the missing rest at which a transmission is complete; updates of rates cause errors of 1e-13."""


class Transmission(Protocol):
    """An ongoing transmission in a band."""

    link: Carrying
    """The link, or links, to its receivers."""

    @property
    def stream(self) -> Hashable | None:
        """The rateless stream that it receives, together with other transmissions; None is a signal for it alone."""
        ...

    @property
    def handover_gap(self) -> HandoverGap:
        """Its handover gaps."""
        ...

    @property
    def receivers(self) -> Receivers:
        """Numbers of the users that it serves: one, or all of a multicast at one rate."""
        ...

    @property
    def bits(self) -> float:
        """Size of its payload."""
        ...

    @property
    def start_s(self) -> float:
        """Simulated time in seconds at which it began."""
        ...

    @property
    def done(self) -> simpy.Event:
        """Event of the end: all bits have arrived, or the radio link has failed."""
        ...

    @property
    def delivered_bits(self) -> float:
        """Bits that have arrived; up to date after `Band.update`, and at the end."""
        ...

    @property
    def attempts(self) -> int:
        """Number of transport blocks sent, with retransmissions; 1 without transport blocks."""
        ...

    @property
    def failed(self) -> int:
        """Number of transport blocks that could not be decoded."""
        ...

    @property
    def failed_link(self) -> bool:
        """True if the transmission was abandoned because the radio link failed; `done` has happened then."""
        ...

    def mean_snr(self) -> float | None:
        """Return the signal-to-noise ratio averaged over the time with a part of the band; None before that."""
        ...

    def mean_power(self) -> float:
        """Return the part of the sender's power that was on the air, averaged over the time at a station."""
        ...

    def out_of_range(self, now_s: float) -> list[str]:
        """Return a sentence for each receiver that can receive nothing under present conditions, at `now_s` seconds."""
        ...


class Band(Protocol):
    """The band of a station in one direction, shared by transmissions. All bands of a direction have one fidelity."""

    changed: Callable[[], None] | None
    """Called, if set, at each new division of the band; it must cause a call of `apply` at the same instant."""

    @property
    def env(self) -> simpy.Environment:
        """The environment of the run."""
        ...

    @property
    def bandwidth_hz(self) -> float:
        """Bandwidth in Hz."""
        ...

    @property
    def carries_analogue(self) -> bool:
        """True if it can carry analogue messages; transport blocks are digital."""
        ...

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler that divides the band."""
        ...

    def begin(
        self,
        link: Carrying,
        receivers: Receivers,
        bits: float,
        radiate: Callable[[float], None] | None = None,
        stream: Hashable | None = None,
    ) -> Transmission:
        """Begin a transmission. The caller waits for `done`, then (or when interrupted) calls `end`.

        Args:
            link: the link to the receiver, or the multicast link to several.
            receivers: numbers of the users that it serves.
            bits: size of the payload, above 0.
            radiate: called with the part of the sender's power that is on the air whenever that changes; 0 at first.
            stream: the rateless stream to which it belongs; None is none. The transmissions of a stream are scheduled
                as one and have the same part of the band, in which each receives at the rate of its own link.
        """
        ...

    def update(self, transmission: Transmission) -> None:
        """Update the bits and means of an ongoing transmission to the present instant."""
        ...

    def end(self, transmission: Transmission) -> None:
        """Remove a transmission from the band, complete or not; its `delivered_bits` are up to date afterwards."""
        ...

    def suspend(self, transmission: Transmission) -> None:
        """Take a transmission off the air until `resume`, here or in another band; one that is complete ends."""
        ...

    def resume(self, transmission: Transmission) -> None:
        """Continue a transmission that was suspended in this band or in another of the same fidelity."""
        ...

    def attach(self, user: int) -> None:
        """Add the user of this number to those of the station."""
        ...

    def detach(self, user: int) -> None:
        """Remove the user of this number from those of the station."""
        ...

    def links_changed(self) -> None:
        """Evaluate the links of all ongoing transmissions again, because their gains have changed."""
        ...

    def reconsider(self) -> None:
        """Divide the band again, because an input of the scheduler has changed."""
        ...

    def sending(self) -> Iterator[tuple[Sequence[Transmission], SchedulingGrant]]:
        """Yield the signals on the air, each with its grant from now on.

        A signal is one transmission, or all those of a stream.
        """
        ...

    def apply(self, stale: Iterable[Transmission] = ()) -> None:
        """Apply the new division, and evaluate the links of `stale` transmissions again, whose noise has changed."""
        ...
