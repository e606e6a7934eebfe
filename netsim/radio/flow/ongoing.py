"""The ongoing transmissions of a band, or of all bands of a channel that interfere: their progress and their ends."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np
import simpy

from netsim.instants import End, reached
from netsim.radio.band import Band, ChannelSignals
from netsim.radio.flow.each import EachByItself
from netsim.radio.flow.progress import Progress
from netsim.radio.flow.together import AllTogether
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.interference import OneByOne
from netsim.radio.scheduling import Grants, Scheduler
from netsim.streams import Floats


class OngoingTransmissions:
    """Transmissions that make progress each by itself, or, if they are many and depend on each other, all together."""

    few, many = 8, 16
    """They progress all together from more than `many` on, until `few` are left: for few of them arrays cost more than
    they save. Results are the same."""

    def __init__(self, env: simpy.Environment, bandwidth_hz: float, scheduler: Scheduler, *, spread: bool) -> None:
        self.env = env
        self.stale: dict[FlowTransmission, None] = {}
        """Those whose links have changed since they were rated."""
        self._all: dict[FlowTransmission, Callable[[FlowTransmission], None]] = {}  # in order of arrival, and `at_end`
        self._each = EachByItself(env, follows_fading=scheduler.follows_fading)
        self._together = AllTogether(env, bandwidth_hz, spread=spread)
        self.progress: Progress = self._each
        self._alarm_s = inf
        self._bands = OneByOne()  # of the channel, if they interfere

    def __len__(self) -> int:
        return len(self._all)

    def join(self, transmission: FlowTransmission, at_end: Callable[[FlowTransmission], None]) -> None:
        """Add a transmission; `at_end` is called before its event `done`, and must call `leave`."""
        self._all[transmission] = at_end
        self.progress.join(transmission)

    def leave(self, transmission: FlowTransmission) -> None:
        """Remove a transmission, whose figures are those of this instant afterwards; `apply` must follow."""
        del self._all[transmission]
        self.progress.leave(transmission)
        self.stale.pop(transmission, None)  # another band may have it from now on

    def choose_progress(self) -> None:
        """Change between progress each by itself and all together, as the number of transmissions demands."""
        few = len(self._all) <= (self.many if self.progress is self._each else self.few)
        chosen: Progress = self._each if few else self._together
        if chosen is not self.progress:
            transmissions = list(self._all)
            grants = [self.progress.granted(transmission) for transmission in transmissions]
            for transmission in transmissions:
                self.progress.leave(transmission)
                chosen.join(transmission)
            self.progress = chosen
            if transmissions:  # of other bands, which are not divided anew
                chosen.grant(transmissions, Grants(*np.array(grants).T))

    def apply(self) -> None:
        """Apply the grants, rate anew what is stale, and wait for what is due next."""
        stale, self.stale = self.stale, {}
        self.progress.apply(stale)
        self._set_alarm()

    def add(self, station: int, band: Band) -> None:
        """Add the band of a station to those that interfere with each other."""
        self._bands.add(station, band)

    def signals(self) -> ChannelSignals:
        """As `Interfering` has it."""
        return self._together.signals() if self.progress is self._together else self._bands.signals()

    def interfere(self, interference_hz: Floats) -> None:
        """As `Interfering` has it."""
        if self.progress is self._together:
            self.stale.update(dict.fromkeys(self._together.interfere(interference_hz)))
        else:
            self._bands.interfere(interference_hz)
        self.apply()

    def _set_alarm(self) -> None:
        due_s = self.progress.due_s
        if due_s < self._alarm_s:
            delay_s = due_s - self.env.now
            self._alarm_s = self.env.now + delay_s  # the clock's own rounding: it may come an ulp before it is due
            End(self.env, delay_s).callbacks.append(self._ring)

    def _ring(self, _: simpy.Event) -> None:
        now_s, alarm_s = self.env.now, self._alarm_s
        if rung := reached(alarm_s, now_s):
            self._alarm_s = inf
        for transmission in self.progress.completed(alarm_s if rung else now_s):
            self._all[transmission](transmission)
            transmission.done.succeed()
        self._set_alarm()
