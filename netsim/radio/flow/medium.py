"""A band as a fluid flow: a transmission ends exactly when its rate, integrated over time, reaches its bits.

Shares change when a transmission begins or ends. All changes of one instant are settled together, after everything else
of that instant: a transmission with a new share is brought up to date at its old rate, then gets the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from math import inf

import simpy

from netsim.instants import End, reached
from netsim.radio.band import Transmission
from netsim.radio.flow.each import EachByItself
from netsim.radio.flow.progress import Progress
from netsim.radio.flow.stream import FlowStream
from netsim.radio.flow.together import AllTogether
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
    few, many = 8, 16
    """In a band whose division depends on all its transmissions, these progress all together from more than `many`
    transmissions on, until `few` are left: for few of them arrays cost more than they save. Results are the same."""

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
        self._active: dict[Transmission, FlowTransmission] = {}  # each by itself, in order of arrival
        self._streams: dict[Hashable, FlowStream] = {}  # on the air here
        self._unrated: list[FlowTransmission] = []
        self._stale: dict[FlowTransmission, None] = {}  # its link has changed
        self.changed: Callable[[], None] | None = None
        """As `Band` has it."""
        self._each = EachByItself(env, follows_fading=scheduler.follows_fading)
        self._together = AllTogether(env, bandwidth_hz, spread=spread)
        self._progress: Progress = self._each
        self._alarm_s = self._border_s = inf
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
        self._progress.join(transmission)
        if transmission.stream is not None:
            self._streams.setdefault(transmission.stream, FlowStream()).transmissions.append(transmission)
        if self._is_independent(transmission):
            self._divide([transmission])
            self.apply()
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
            self._progress.update(own)

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
            self._stale.update(dict.fromkeys(self._active.values()))
            self._settle_later()

    def reconsider(self) -> None:
        """As `Band` has it."""
        self._settle_later()

    def _leave(self, transmission: FlowTransmission) -> None:
        del self._active[transmission]
        self._progress.leave(transmission)
        self._stale.pop(transmission, None)  # another band may have it from now on
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
        if self.scheduler.contended:
            self._choose_progress()
            touched = list(self._active.values())
        else:
            touched = [each for each in unrated if each in self._active]
        if touched:
            self._divide(touched)
        if self.changed is None:
            self.apply()
        else:
            self.changed()

    def _choose_progress(self) -> None:
        """Change between progress each by itself and all together, as the number of transmissions demands."""
        few = len(self._active) <= (self.many if self._progress is self._each else self.few)
        chosen: Progress = self._each if few else self._together
        if chosen is not self._progress:
            for transmission in self._active.values():
                self._progress.leave(transmission)
                chosen.join(transmission)
            self._progress = chosen

    def _divide(self, touched: list[FlowTransmission]) -> None:
        signals = self._signals(touched)
        contenders = self._progress.contenders(signals)
        self._progress.grant(signals, self.scheduler.grants(contenders, self.attached, self.env.now))
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
            yield signal.transmissions, self._progress.granted(signal.transmissions[0])

    def apply(self, stale: Iterable[Transmission] = ()) -> None:
        """As `Band` has it: rate anew what has another part of the band, and what is `stale`."""
        self._stale.update((self._active[transmission], None) for transmission in stale)
        changed, self._stale = self._stale, {}
        self._progress.apply(changed)
        self._set_alarm()

    def _set_alarm(self) -> None:
        due_s = self._progress.due_s
        if due_s < self._alarm_s:
            delay_s = due_s - self.env.now
            self._alarm_s = self.env.now + delay_s  # the clock's own rounding: it may come an ulp before it is due
            End(self.env, delay_s).callbacks.append(self._ring)

    def _ring(self, _: simpy.Event) -> None:
        now_s, alarm_s = self.env.now, self._alarm_s
        if rung := reached(alarm_s, now_s):
            self._alarm_s = inf
        for transmission in self._progress.completed(alarm_s if rung else now_s):
            self._leave(transmission)
            transmission.done.succeed()
        self._set_alarm()
