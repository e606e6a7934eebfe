"""A band that is shared slot by slot.

Slots follow each other on one grid of time. What has begun by the beginning of a slot takes part in it, and what the
slot carries has arrived at its end. While there is no transmission nothing happens, at no cost; nor while nothing of
what is under way can ever arrive: then slots are left out, and their attempts are not counted, until something changes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from math import ceil, floor

import numpy as np
import simpy
from numpy.typing import NDArray

from netsim.radio.band import Interfering, Transmission
from netsim.radio.interference import OneByOne
from netsim.radio.link import Carrying
from netsim.radio.scheduling import ROUNDING, Contenders, Grants, Receivers, Scheduler, SchedulingGrant
from netsim.radio.settling import Alarm, Settling
from netsim.radio.slot.coding import Coding, Received, Sent
from netsim.radio.slot.dealing import Dealer, Rows
from netsim.radio.slot.rows import Transmissions
from netsim.radio.slot.signals import Signals
from netsim.radio.slot.transmission import SlotTransmission
from netsim.streams import Floats


class SlotMedium:
    """One direction of one station's band, with slots of `tti_s` and resource blocks of equal width.

    Power is spread evenly over the whole band (`spread`: a station's), or over the resource blocks that the sender has
    in the slot (a user's). What the station knows of channels is `delay_slots` old.
    """

    carries_analogue = False

    def __init__(
        self,
        env: simpy.Environment,
        bandwidth_hz: float,
        scheduler: Scheduler,
        attached: Iterable[int],
        dealer: Dealer,
        coding: Coding,
        *,
        tti_s: float,
        resource_blocks: int,
        delay_slots: int,
        spread: bool,
    ) -> None:
        self.env, self.bandwidth_hz, self.scheduler, self.attached = env, bandwidth_hz, scheduler, list(attached)
        self.tti_s, self.resource_blocks = tti_s, resource_blocks
        self.changed: Callable[[], None] | None = None
        self._dealer, self._coding, self._spread = dealer, coding, spread
        self._rows, self._signals = Transmissions(delay_slots), Signals()
        self._joining: list[SlotTransmission] = []
        self._reconsider = self._running = self._asleep = False
        self._unsure = 0  # slots to begin until it is tested again whether any receiver is reached
        self._number = -1  # of the slot that is on, or was the latest
        self._shares_out = scheduler.contended
        self._received: Received | None = None  # what it will have brought at its end
        self._every: Rows = np.arange(resource_blocks)
        self._efficiency = self._reported = np.zeros((0, 1))  # rates that are promised to rows, for these reports

    def begin(
        self,
        link: Carrying,
        receivers: Receivers,
        bits: float,
        radiate: Callable[[float], None] | None = None,
        stream: Hashable | None = None,
    ) -> SlotTransmission:
        """As `Band` has it; it takes part from the next slot on."""
        transmission = SlotTransmission(self.env, link, receivers, bits, radiate, stream)
        self._join_later(transmission)
        return transmission

    def update(self, transmission: Transmission) -> None:
        """As `Band` has it, up to the latest end of a slot."""
        if (row := self._rows.row(transmission)) is not None:
            self._rows.report(row)

    def end(self, transmission: Transmission) -> None:
        """As `Band` has it. What the slot that is on would have brought is lost."""
        self._joining = [each for each in self._joining if each is not transmission]
        if (row := self._rows.row(transmission)) is not None:
            self._keep(np.arange(len(self._rows.all)) != row)
            self.reconsider()

    def suspend(self, transmission: Transmission) -> None:
        """As `Band` has it; what the slot that is on would have brought is sent again."""
        assert isinstance(transmission, SlotTransmission), "all bands of a direction have one fidelity"
        if not transmission.done.triggered:
            self.end(transmission)
            transmission.leave(self.env.now)

    def resume(self, transmission: Transmission) -> None:
        """As `Band` has it; it takes part from the next slot on."""
        assert isinstance(transmission, SlotTransmission), "all bands of a direction have one fidelity"
        transmission.join(self.env.now)
        self._join_later(transmission)

    def attach(self, user: int) -> None:
        """As `Band` has it."""
        self.attached.append(user)
        self.reconsider()

    def detach(self, user: int) -> None:
        """As `Band` has it."""
        self.attached.remove(user)
        self.reconsider()

    def links_changed(self) -> None:
        """As `Band` has it."""
        self.refresh(self._rows.all)

    def reconsider(self) -> None:
        """From the next slot on divide the band anew."""
        self._reconsider = True
        self._wake_up()

    def sending(self) -> Iterator[tuple[Sequence[SlotTransmission], SchedulingGrant]]:
        """As `Band` has it; the part of the band is an average over slots."""
        return ((signal.transmissions, signal.transmissions[0].grant) for signal in self._signals.all)

    def interfering(self, station: int, changed: Callable[[], None], others: Interfering | None) -> Interfering:
        """As `Band` has it."""
        self.changed = changed
        bands = others if isinstance(others, OneByOne) else OneByOne()
        bands.add(station, self)
        return bands

    def refresh(self, stale: Iterable[Transmission]) -> None:
        """As `Band` has it."""
        rows = [row for transmission in stale if (row := self._rows.row(transmission)) is not None]
        for row in rows:
            self._rows.forget(row)
        if rows:
            self._wake_up()

    def _join_later(self, transmission: SlotTransmission) -> None:
        self._joining.append(transmission)
        self._wake_up()
        if not self._running:
            self._running = True
            self._wake()

    def _wake_up(self) -> None:
        """Something has changed: see again who can be reached."""
        self._unsure = 2
        if self._asleep:
            self._asleep, self._running = False, True
            self._wake()

    def _wake(self) -> None:
        now_s = self.env.now
        self._number = max(self._number, ceil(now_s / self.tti_s - ROUNDING) - 1)
        begins_s = (self._number + 1) * self.tti_s
        if begins_s <= now_s:
            self._begin_later()
        else:
            Alarm(self.env, begins_s - now_s, self._begin_later)

    def _begin_later(self, _: simpy.Event | None = None) -> None:
        """After everything else of this instant, so that who begins now takes part."""
        Settling(self.env, self._begin_slot)

    def _begin_slot(self, _: simpy.Event) -> None:
        if self._joining or self._reconsider:
            self._join()
        self._asleep = self._none_reached()
        self._running = bool(self._rows.all) and not self._asleep
        if self._running:
            self._number += 1
            self._rows.refresh(self.env.now)
            self._send()
            Alarm(self.env, max(0.0, (self._number + 1) * self.tti_s - self.env.now), self._end_slot)

    def _none_reached(self) -> bool:
        """Return whether nothing of what is under way can ever arrive, as bands, powers and links are now.

        Asked once after each change, one slot later, so that what is out of range has been on the air.
        """
        if not self._unsure or not self._rows.all:
            return False
        self._unsure -= 1
        return not self._unsure and not any(map(self._reached, self._rows.all))

    def _reached(self, transmission: SlotTransmission) -> bool:
        grant, link = transmission.grant, transmission.link
        if self._dealer.sending() is None:  # resource blocks go where a scheduler counts on something
            promised = self._coding.promised(np.array([[link.max_snr(self.bandwidth_hz)]]))
            transmission.unreached_hz = None if promised.any() else self.bandwidth_hz
        elif not grant.radiated:  # it waits for a controller
            return False
        else:
            blocks = grant.band * self.resource_blocks
            counts = {max(1, floor(blocks + ROUNDING)), max(1, ceil(blocks - ROUNDING))}
            spreads_hz = {count: self._spread_hz(count) / grant.power for count in counts}
            reached = any(self._coding.carries(link.max_snr(spreads_hz[count]), count) for count in counts)
            transmission.unreached_hz = None if reached else min(spreads_hz.values())
        return transmission.unreached_hz is None

    def _spread_hz(self, resource_blocks: int) -> float:
        """Over what a sender's power is spread that has so many resource blocks."""
        return self.bandwidth_hz if self._spread else resource_blocks * (self.bandwidth_hz / self.resource_blocks)

    def _join(self) -> None:
        new, self._joining, self._reconsider = self._joining, [], False
        rows = self._rows
        rows.add(new, self.env.now)
        self._signals.join(new)
        if rows.all:
            grants = self._grants()
            of_signals = list(grants)
            rows.grant([of_signals[signal] for signal in self._signals.of_rows.tolist()])
            self._coding.joined([transmission.receivers[0] for transmission in rows.all])
            self._dealer.joined(of_signals, self._promised)
            parts = self._dealer.sending()
            if parts is not None and not self._spread:  # a user's power, averaged over slots
                rows.radiate(self.env.now, parts[self._signals.of_rows] * rows.powers)
        if self.changed is not None:
            self.changed()

    def _grants(self) -> Grants:
        signals = self._signals.all
        if self.scheduler.follows_fading:
            return Grants(np.ones(len(signals)), 1 / len(signals))  # on average, nearly; slots go to the best
        return self.scheduler.grants(Contenders(signals), self.attached, self.env.now)  # type: ignore[arg-type]  # by receivers alone

    def _promised(self) -> Floats:
        return self._signals.total(self._promised_rows())

    def _promised_rows(self) -> Floats:
        """As `_promised`, for each row; computed again when reports change."""
        if self._reported is not self._rows.reported:
            self._reported = self._rows.reported
            self._efficiency = self._coding.promised(self._reported / self.bandwidth_hz)
        return self._efficiency

    def _send(self) -> None:
        rows = self._rows
        owners = self._dealer.owners(self._number, self._promised)
        if self._shares_out:
            self._share_out(owners)
        owners, blocks = self._signals.receivers(owners)
        count: Rows = np.bincount(owners, minlength=len(rows.all))
        used_hz = self.bandwidth_hz if self._spread else count[owners] * (self.bandwidth_hz / self.resource_blocks)
        density_w = rows.powers[owners] / used_hz
        snr = rows.at(rows.signals, owners, blocks) * density_w
        known = snr if rows.reported is rows.signals else rows.at(rows.reported, owners, blocks) * density_w
        sent = Sent(self._number, owners, snr, known, rows.signals.shape[1] == 1)
        self._received = self._coding.send(sent, rows.remaining_bits)
        self._dealer.served(self._signals.total(self._received.bits) / (self.tti_s * self.bandwidth_hz))
        rows.sent(count, np.asarray(np.bincount(owners, snr, len(rows.all)), dtype=np.float64))
        if self._dealer.sending() is None and not self._spread:
            rows.radiate(self.env.now, np.where(count > 0, rows.powers, 0.0))

    def _share_out(self, owners: Rows) -> None:
        """Give to others what owners of many resource blocks have no use for, as their bits run out in this slot."""
        block_bits = self.bandwidth_hz / self.resource_blocks * self.tti_s
        of_signals, wanted_bits = self._signals.wanted(self._rows.remaining_bits)
        for _ in range(self.resource_blocks):
            efficiency = self._rows.at(self._promised_rows(), of_signals[owners], self._every)
            bits = block_bits * (efficiency * (owners >= 0))
            gets = np.bincount(owners + 1, bits, len(wanted_bits) + 1)[1:]
            if (gets <= wanted_bits).all():
                return
            before = _before(owners, bits)
            spare = (owners >= 0) & (before >= wanted_bits[owners])
            hungry = gets < wanted_bits
            others = self._dealer.spared(self._promised, hungry) if spare.any() and hungry.any() else None
            if others is None:
                return
            owners[spare] = others[spare]

    def _end_slot(self, _: simpy.Event) -> None:
        if self._received is not None:
            over = self._rows.receive(self._received)
            failed_link = ~over & (self._received.given_up > 0)
            self._received = None
            for row in failed_link.nonzero()[0].tolist():
                self._rows.all[row].failed_link = True
            over |= failed_link
            if over.any():
                finished = [self._rows.all[row] for row in over.nonzero()[0].tolist()]
                self._keep(~over)
                self.reconsider()
                for transmission in finished:
                    transmission.done.succeed()
        self._begin_later()

    def _keep(self, rows: NDArray[np.bool_]) -> None:
        left = [self._rows.all[row] for row in (~rows).nonzero()[0].tolist()]
        self._rows.keep(rows, self.env.now)
        self._dealer.keep(self._signals.keep(rows, left))
        self._coding.keep(rows)
        if self._received is not None:
            self._received = Received(*(column[rows] for column in self._received))


def _before(owners: Rows, bits: Floats) -> Floats:
    """The bits in resource blocks of the same owner before each."""
    same = (owners[:, None] == owners) & np.tri(len(owners), k=-1, dtype=bool)
    before: Floats = same @ bits
    return before
