"""Transfers over the air: unicast, multicast at the rate of the weakest receiver, and parts of rateless streams."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
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
    """The air interface between a station and its users in one direction."""

    def __init__(self, journal: Journal, band: Band, node: str, direction: Literal["up", "down"]) -> None:
        """Create an air interface.

        Args:
            journal: receives a row of `transfers` for each user of a transfer.
            band: the station's band in this direction.
            node: name of the station in the tables.
            direction: "up" from users to the station, "down" from the station to users.
        """
        self.env, self.journal, self.band, self.node, self.direction = band.env, journal, band, node, direction

    def transfer(
        self,
        radio: Radio,
        bits: float,
        kind: str,
        stream: Hashable | None = None,
        receivers: int = 1,
        received: Callable[[Radio, Payload], Reception] = Reception,
    ) -> Process[None]:
        """Transmit a payload from or to one user. A payload of 0 bits takes no time and leaves no row.

        Args:
            radio: the user's radio in this direction.
            bits: size of the payload.
            kind: kind of payload, for the table `transfers`.
            stream: the rateless stream to which the user listens; all transfers of one stream share its signal on the
                air, and each ends independently. None is a signal for this transfer only.
            receivers: number of users of the stream, which share the bits on the air equally in the table.
            received: called once for the reception of the payload.

        Raises:
            ValueError: `bits` is negative or NaN.
            simpy.Interrupt: the transfer was interrupted, or the radio link failed.
        """
        if not self._has_bits(bits, kind):
            return
        reception = received(radio, self._payload(bits, kind, receivers))
        interrupt: simpy.Interrupt | None = None
        locked = False
        try:
            yield from radio.lock.acquire()
            locked = True
            if radio.arrival is not None:
                yield from radio.arrived()
            transmission = reception.begin(stream)
            if reception.ends_itself:
                yield from reception.completed(transmission)
            else:
                yield transmission.done
        except simpy.Interrupt as cause:
            interrupt = cause
        reception.end()
        if locked:
            radio.lock.release()
        self.journal.transferred(reception.row(self.env.now), reception.on_air_bits)
        if interrupt is None and reception.failed_link:
            interrupt = self._failed([radio])
        if interrupt is not None:
            raise interrupt

    def broadcast(self, radios: Iterable[Radio], bits: float, kind: str) -> Process[list[Radio]]:
        """Transmit a payload once to all of these users that are not away, at the rate of the weakest link.

        A user that goes away meanwhile receives no more. The station does not adapt to this: the transmission keeps its
        rate until all users have gone. If the radio link fails, no user receives any more.

        Args:
            radios: the downlink radios of the users.
            bits: size of the payload; 0 takes no time and leaves no row.
            kind: kind of payload, for the table `transfers`.

        Returns:
            The radios of the users that received the whole payload.

        Raises:
            ValueError: `bits` is negative or NaN.
            simpy.Interrupt: the broadcast was interrupted.
        """
        available = [radio for radio in radios if not radio.presence.away]
        available.sort(key=lambda radio: radio.user)  # the same order in all broadcasts, so that locks cannot deadlock
        if not self._has_bits(bits, kind) or not available:
            return available
        receptions = [Reception(radio, self._payload(bits, kind, len(available))) for radio in available]
        transmission: Transmission | None = None
        interrupt: simpy.Interrupt | None = None
        all_gone = self.env.event()

        def on_leave(reception: Reception) -> None:
            receptions.remove(reception)
            reception.stop()
            self.journal.transferred(reception.row(self.env.now))
            if not receptions:
                all_gone.succeed()

        with ExitStack() as held:
            for reception in receptions:
                held.enter_context(reception.radio.presence.watched(partial(on_leave, reception)))
            try:
                for reception in list(receptions):
                    yield from reception.radio.lock.acquire()
                    held.callback(reception.radio.lock.release)
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
        """Return True if `bits` is positive. Raises ValueError if it is negative or NaN."""
        if not bits >= 0:
            raise ValueError(f"{kind}: {bits} bits cannot be transmitted")
        return bits > 0

    def _payload(self, bits: float, kind: str, receivers: int) -> Payload:
        """Return a payload that is requested now; arguments as in `transfer`."""
        return Payload(kind, bits, self.direction, receivers, self.journal.round, self.env.now)

    def _multicast(self, receptions: Sequence[Reception], bits: float) -> Transmission:
        """Begin one transmission for all receptions, at the rate of the weakest link."""
        for reception in receptions:
            reception.radio.begin()
        links = [reception.radio.link for reception in receptions]
        link: Carrying = links[0] if len(links) == 1 else MulticastLink(links)
        transmission = self.band.begin(link, tuple(reception.radio.user for reception in receptions), bits)
        for reception in receptions:
            reception.share(transmission)
        return transmission

    def _failed(self, radios: Sequence[Radio]) -> simpy.Interrupt:
        """Record a radio link failure. Returns an interrupt, so that schemes see it as a momentary absence."""
        for radio in radios:
            self.journal.outage(OutageRow(radio.user, self.env.now, self.env.now, "radio_link"))
        return simpy.Interrupt(f"the radio link of user {', '.join(str(radio.user) for radio in radios)} has failed")
