"""A band as a fluid flow: a transmission ends exactly when its rate, integrated over time, reaches its bits.

Shares change when a transmission begins or ends. All changes of one instant are settled together, after everything else
of that instant: a transmission with a new share is brought up to date at its old rate, then gets the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from math import inf

import simpy

from netsim.radio.band import Interfering, Transmission
from netsim.radio.flow.ongoing import OngoingTransmissions
from netsim.radio.flow.stream import FlowStream
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.link import Carrying
from netsim.radio.scheduling import Receivers, Scheduler, SchedulingGrant
from netsim.radio.settling import Alarm, Settling


class FlowMedium:
    """One direction of one station's band, as a fluid flow.

    `attached` are the numbers of the users that belong to the station, `scheduler` divides the band of `bandwidth_hz`.
    Power is spread evenly over the whole band (`spread`: a station's), or sits in the sender's share (a user's).
    """

    carries_analogue = True

    def __init__(
        self,
        env: simpy.Environment,
        bandwidth_hz: float,
        scheduler: Scheduler,
        attached: Iterable[int],
        *,
        spread: bool,
    ) -> None:
        self.env, self.bandwidth_hz, self.attached, self.scheduler = env, bandwidth_hz, list(attached), scheduler
        self._spread = spread
        self.ongoing = OngoingTransmissions(env, bandwidth_hz, scheduler, spread=spread)
        """Those of the band, or of all bands of its channel if they interfere."""
        self._station = 0  # its number, among stations that interfere
        self._active: dict[Transmission, FlowTransmission] = {}  # of this band, each by itself, in order of arrival
        self._streams: dict[Hashable, FlowStream] = {}  # on the air here
        self._unrated: list[FlowTransmission] = []
        self.changed: Callable[[], None] | None = None
        """As `Band` has it."""
        self._border_s = inf
        self._settling = False

    def begin(
        self,
        link: Carrying,
        receivers: Receivers,
        bits: float,
        radiate: Callable[[float], None] | None = None,
        stream: Hashable | None = None,
    ) -> FlowTransmission:
        """As `Band` has it."""
        transmission = FlowTransmission(
            self.env, link, receivers, bits, self.bandwidth_hz, radiate, stream, spread=self._spread
        )
        self._join(transmission)
        return transmission

    def _join(self, transmission: FlowTransmission) -> None:
        self._active[transmission] = transmission
        transmission.station = self._station
        self.ongoing.join(transmission, self._leave)
        if transmission.stream is not None:
            self._streams.setdefault(transmission.stream, FlowStream()).transmissions.append(transmission)
        if self._is_independent(transmission):
            self._divide([transmission])
            self.ongoing.apply()
        else:
            self._unrated.append(transmission)
            self._settle_later()

    def _is_independent(self, transmission: FlowTransmission) -> bool:
        """True if it changes neither the parts of the band of others nor their noise."""
        return not self.scheduler.contended and self.changed is None and transmission.stream is None

    def _divide_all_later(self) -> None:
        """For policies, too, whose grants depend on the attached users alone."""
        self._unrated = list(self._active.values())
        self._settle_later()

    def update(self, transmission: Transmission) -> None:
        """As `Band` has it."""
        if (own := self._active.get(transmission)) is not None:
            self.ongoing.progress.update(own)

    def end(self, transmission: Transmission) -> None:
        """As `Band` has it."""
        if (own := self._active.get(transmission)) is not None:
            self._leave(own)

    def suspend(self, transmission: Transmission) -> None:
        """As `Band` has it."""
        if (own := self._active.get(transmission)) is not None:
            self._leave(own)
            own.leave(self.env.now)
            if not own.remaining_bits:
                own.done.succeed()

    def resume(self, transmission: Transmission) -> None:
        """As `Band` has it."""
        assert isinstance(transmission, FlowTransmission), "all bands of a direction have one fidelity"
        transmission.join(self.env.now)
        self._join(transmission)

    def attach(self, user: int) -> None:
        """As `Band` has it."""
        self.attached.append(user)
        self._divide_all_later()

    def detach(self, user: int) -> None:
        """As `Band` has it."""
        self.attached.remove(user)
        self._divide_all_later()

    def links_changed(self) -> None:
        """As `Band` has it."""
        if self._active:
            self.ongoing.stale.update(dict.fromkeys(self._active.values()))
            self._settle_later()

    def reconsider(self) -> None:
        """As `Band` has it."""
        self._settle_later()

    def _leave(self, transmission: FlowTransmission) -> None:
        del self._active[transmission]
        self.ongoing.leave(transmission)
        if transmission.stream is not None:
            self._leave_stream(transmission, transmission.stream)
        if not self._is_independent(transmission):
            self._settle_later()

    def _leave_stream(self, transmission: FlowTransmission, stream: Hashable) -> None:
        """The others go on; what a receiver owns of the band for itself alone it takes with it."""
        listening = self._streams[stream].transmissions
        listening.remove(transmission)
        self._unrated += listening[:1]  # the stream is rated for all
        if not listening:
            del self._streams[stream]

    def _settle_later(self) -> None:
        if not self._settling:
            self._settling = True
            Settling(self.env, self._settle)

    def _settle(self, _: simpy.Event) -> None:
        self._settling = False
        unrated, self._unrated = self._unrated, []
        if self.scheduler.contended or self.changed is not None:
            self.ongoing.choose_progress()
        if self.scheduler.contended:
            touched = list(self._active.values())
        else:
            touched = [each for each in unrated if each in self._active]
        if touched:
            self._divide(touched)
        if self.changed is None:
            self.ongoing.apply()
        else:
            self.changed()

    def _divide(self, touched: list[FlowTransmission]) -> None:
        signals = self._signals(touched)
        progress = self.ongoing.progress
        contenders = progress.contenders(signals)
        progress.grant(signals, self.scheduler.grants(contenders, self.attached, self.env.now))
        if self.scheduler.follows_fading:  # it looks no further than to the end of the present fading block
            self._settle_at(contenders.border_s(self.env.now))

    def _signals(self, transmissions: Sequence[FlowTransmission]) -> Sequence[FlowTransmission | FlowStream]:
        """The signals of these transmissions: each is one by itself, but those of a stream are one together."""
        if not self._streams:
            return transmissions
        signals = (each if each.stream is None else self._streams[each.stream] for each in transmissions)
        return list(dict.fromkeys(signals))

    def _settle_at(self, border_s: float) -> None:
        if border_s < inf and border_s != self._border_s:
            self._border_s = border_s
            Alarm(self.env, border_s - self.env.now, self._at_border)

    def _at_border(self, _: simpy.Event) -> None:
        if self._active:
            self._settle_later()

    def sending(self) -> Iterator[tuple[Sequence[FlowTransmission], SchedulingGrant]]:
        """As `Band` has it."""
        for signal in self._signals(list(self._active.values())):
            yield signal.transmissions, self.ongoing.progress.granted(signal.transmissions[0])

    def interfering(self, station: int, changed: Callable[[], None], others: Interfering | None) -> Interfering:
        """As `Band` has it."""
        self._station, self.changed = station, changed
        if isinstance(others, OngoingTransmissions):
            self.ongoing = others
        self.ongoing.add(station, self)
        return self.ongoing

    def refresh(self, stale: Iterable[Transmission]) -> None:
        """As `Band` has it."""
        self.ongoing.stale.update((self._active[transmission], None) for transmission in stale)
