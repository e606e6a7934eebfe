"""Transfers over the air: one receiver, several at the rate of the weakest, or several that each end by themselves."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Literal

import simpy

from netsim.journal import Journal
from netsim.process import Process
from netsim.radio.band import Band, Transmission
from netsim.radio.device import Radio
from netsim.radio.link import Carrying, MulticastLink
from netsim.reception import Payload, Reception
from netsim.tables import OutageRow


class AirInterface:
    """One direction between a station, whose name in the tables is `node`, and its users."""

    def __init__(self, journal: Journal, band: Band, node: str, direction: Literal["up", "down"]) -> None:
        self.env, self.journal, self.band, self.node, self.direction = band.env, journal, band, node, direction

    def transfer(
        self, radio: Radio, bits: float, kind: str, stream: Hashable | None = None, receivers: int = 1
    ) -> Process[None]:
        """Transmit `bits` from or to one user. No bits take no time and leave no row.

        Args:
            radio: the user's radio in this direction.
            bits: size of the payload.
            kind: what the payload is, for the table `transfers`.
            stream: the rateless stream to which the user listens; all transfers of one stream share its signal on the
                air, and each ends by itself. None is a signal of its own.
            receivers: how many users the stream is for; each counts for this part of the bits on the air.

        Raises:
            ValueError: `bits` is negative or no number.
            simpy.Interrupt: the radio link has failed.
        """
        if not self._has_bits(bits, kind):
            return
        reception = Reception(radio, self._payload(bits, kind, receivers))
        interrupt: simpy.Interrupt | None = None
        with radio.lock.request() as lock:
            try:
                yield lock
                yield from radio.arrived()
                transmission = reception.begin(stream)
                yield transmission.done
            except simpy.Interrupt as cause:
                interrupt = cause
            reception.end()
        self.journal.transferred(reception.row(self.env.now))
        if interrupt is None and reception.failed_link:
            interrupt = self._failed([radio])
        if interrupt is not None:
            raise interrupt

    def broadcast(self, radios: Iterable[Radio], bits: float, kind: str) -> Process[list[Radio]]:
        """Transmit `bits` once to all of these users that are there; returns those that got all of it.

        A user that goes away meanwhile gets no more. The station does not notice: it keeps the rate that it chose for
        all until the last has gone. Where the radio link fails, no user gets any more.
        """
        there = [radio for radio in radios if not radio.presence.away]
        there.sort(key=lambda radio: radio.user)  # one order for all, so that locks cannot deadlock
        if not self._has_bits(bits, kind) or not there:
            return there
        payload = self._payload(bits, kind, len(there))
        receptions = [Reception(radio, payload) for radio in there]
        transmission: Transmission | None = None
        interrupt: simpy.Interrupt | None = None
        all_gone = self.env.event()

        def went(reception: Reception) -> None:
            receptions.remove(reception)
            reception.stop()
            self.journal.transferred(reception.row(self.env.now))
            if not receptions:
                all_gone.succeed()

        with ExitStack() as held:
            for reception in receptions:
                held.enter_context(reception.radio.presence.watched(partial(went, reception)))
            try:
                for reception in list(receptions):
                    yield held.enter_context(reception.radio.lock.request())
                for reception in list(receptions):
                    yield from reception.radio.arrived()
                if receptions:
                    transmission = self._multicast(receptions, bits)
                    yield transmission.done | all_gone
            except simpy.Interrupt as cause:
                interrupt = cause
            if transmission is not None:
                self.band.end(transmission)
                for reception in receptions:
                    reception.end()
        reached = [reception.radio for reception in receptions]
        for reception in receptions:
            self.journal.transferred(reception.row(self.env.now))
        if interrupt is not None:
            raise interrupt
        if transmission is not None and transmission.failed_link:
            self._failed(reached)
            return []
        return reached

    def _has_bits(self, bits: float, kind: str) -> bool:
        """Return whether there are any bits. Raises ValueError if there cannot be so many."""
        if not bits >= 0:
            raise ValueError(f"{kind}: {bits} bits cannot be transmitted")
        return bits > 0

    def _payload(self, bits: float, kind: str, receivers: int) -> Payload:
        return Payload(kind, bits, self.direction, receivers, self.journal.round, self.env.now)

    def _multicast(self, receptions: Sequence[Reception], bits: float) -> Transmission:
        """One transmission for all, at the rate of the weakest."""
        for reception in receptions:
            reception.radio.begin()
        links = [reception.radio.link for reception in receptions]
        link: Carrying = links[0] if len(links) == 1 else MulticastLink(links)
        transmission = self.band.begin(link, tuple(reception.radio.user for reception in receptions), bits)
        for reception in receptions:
            reception.share(transmission)
        return transmission

    def _failed(self, radios: Sequence[Radio]) -> simpy.Interrupt:
        """The radio link has failed; a scheme sees it as if the devices had gone away for an instant."""
        for radio in radios:
            self.journal.outage(OutageRow(radio.user, self.env.now, self.env.now, "radio_link"))
        return simpy.Interrupt(f"the radio link of user {', '.join(str(radio.user) for radio in radios)} has failed")
