"""Transmissions that make progress each by itself: for bands in which the part of one does not depend on the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import simpy

from netsim.agenda import Agenda
from netsim.radio.flow.stream import FlowStream
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.scheduling import Contenders, Grants, SchedulingGrant
from netsim.streams import Floats


class EachByItself:
    """Progress in closed form, without any work for the other transmissions: `Progress` has the interface."""

    def __init__(self, env: simpy.Environment, *, follows_fading: bool) -> None:
        """`follows_fading` is that of the scheduler, which then asks for the present rates before each division."""
        self.env, self._follows_fading = env, follows_fading
        self._unrated: set[FlowTransmission] = set()
        self._agenda: Agenda[FlowTransmission] = Agenda()
        self._granted: dict[FlowTransmission, SchedulingGrant] = {}  # not yet applied

    @property
    def due_s(self) -> float:
        return self._agenda.next_s

    def join(self, transmission: FlowTransmission) -> None:
        self._unrated.add(transmission)

    def leave(self, transmission: FlowTransmission) -> None:
        transmission.advance(self.env.now)
        self._agenda.drop(transmission)
        self._granted.pop(transmission, None)
        self._unrated.discard(transmission)

    def update(self, transmission: FlowTransmission) -> None:
        transmission.advance(self.env.now)

    def contenders(self, signals: Sequence[FlowTransmission | FlowStream]) -> Contenders:
        if self._follows_fading:  # it looks beyond the present fading block
            now_s = self.env.now
            for signal in signals:
                for transmission in signal.transmissions:
                    transmission.advance(now_s)
            return PresentContenders(signals, now_s)
        return Contenders(signals)

    def grant(self, signals: Sequence[FlowTransmission | FlowStream], grants: Grants) -> None:
        for signal, grant in zip(signals, grants.tuples(), strict=True):
            follows = self._follows_fading and grant[0]
            for transmission in signal.transmissions:
                if follows or grant != transmission.grant or transmission in self._unrated:
                    self._granted[transmission] = SchedulingGrant(*grant)
                else:
                    self._granted.pop(transmission, None)

    def granted(self, transmission: FlowTransmission) -> SchedulingGrant:
        return self._granted.get(transmission, transmission.grant)

    def apply(self, stale: Iterable[FlowTransmission]) -> None:
        now_s = self.env.now
        for transmission in stale:
            transmission.advance(now_s)
            transmission.refresh_link()
            self._granted.setdefault(transmission, transmission.grant)
        granted, self._granted = self._granted, {}
        self._unrated.clear()
        for transmission, grant in granted.items():
            self._rate(transmission, grant, now_s)

    def completed(self, alarm_s: float) -> Sequence[FlowTransmission]:
        now_s = self.env.now
        due, until_s = [], max(now_s, alarm_s)
        while self._agenda.next_s <= until_s:
            due.append(self._agenda.pop())
        return [transmission for transmission in due if self._is_complete(transmission, now_s)]

    def _is_complete(self, transmission: FlowTransmission, now_s: float) -> bool:
        """At its due instant a transmission is complete, or its window of fading blocks is used up."""
        transmission.advance(now_s)
        if transmission.remaining_bits:
            self._rate(transmission, transmission.grant, now_s)
        return not transmission.remaining_bits

    def _rate(self, transmission: FlowTransmission, grant: SchedulingGrant, now_s: float) -> None:
        transmission.advance(now_s)
        transmission.rate(now_s, grant)
        self._agenda.put(transmission, transmission.due_s)


class PresentContenders(Contenders):
    """Signals as a scheduler sees them in their present fading blocks, which are looked up once for all questions."""

    def __init__(self, signals: Sequence[FlowTransmission | FlowStream], now_s: float) -> None:
        super().__init__(signals)
        self._rates, borders_s = zip(*[signal.present(now_s) for signal in signals], strict=True)
        self._border_s: float = min(borders_s)

    def efficiencies(self, now_s: float) -> Floats:
        return np.array(self._rates)

    def border_s(self, now_s: float) -> float:
        return self._border_s
