"""The interface of a shared band, written once for both fidelities: `FlowMedium` and `SlotMedium`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from netsim.radio.handover_gap import HandoverGap
from netsim.radio.link import Carrying
from netsim.radio.scheduling import Receivers, Scheduler, SchedulingGrant
from netsim.streams import Floats

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


@dataclass
class ChannelSignals:
    """The signals on the air of a channel in one direction, and those who receive them, as arrays."""

    stations: NDArray[np.intp]
    """Number of the station that sends or receives each signal, shape (signals,)."""
    users: NDArray[np.intp]
    """Number of the user who sends each signal, or of the first of those who receive it, shape (signals,)."""
    band: Floats
    """Part of the band of each signal, as in `SchedulingGrant`, shape (signals,)."""
    radiated: Floats
    """Part of the sender's usual power that is on the air, averaged over time, shape (signals,)."""
    receivers: NDArray[np.intp]
    """Numbers of the users who receive, or send, shape (receivers,): on the downlink a signal may have several."""
    served_by: NDArray[np.intp]
    """Number of the station that serves each of the receivers, shape (receivers,)."""


class Interfering(Protocol):
    """The bands of a channel, in one direction, whose signals interfere with each other."""

    def signals(self) -> ChannelSignals:
        """Return the signals on the air from now on."""
        ...

    def interfere(self, interference_hz: Floats) -> None:
        """Apply the interference at the receivers of `signals`, in Hz, together with new divisions of the bands."""
        ...


class Band(Protocol):
    """The band of a station in one direction, shared by transmissions. All bands of a direction have one fidelity."""

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

    def interfering(self, station: int, changed: Callable[[], None], others: Interfering | None) -> Interfering:
        """Become one of the bands of a channel that interfere with each other, before the first transmission.

        Args:
            station: number of its station.
            changed: called at each new division of the band; it must cause a call of `Interfering.interfere` at the
                same instant.
            others: the bands of the channel so far; None if there is none.

        Returns:
            The bands of the channel, with this one.
        """
        ...

    def refresh(self, stale: Iterable[Transmission]) -> None:
        """Evaluate the links of these transmissions again, whose noise has changed."""
        ...
