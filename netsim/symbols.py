"""Streams of modulated symbols of a rateless code, to which each receiver listens as long as it wants.

The decoder is the receiver's, above the radio: symbols arrive at the symbol rate whatever the signal-to-noise ratio is,
and the reception tells at which ratio each was heard. In `netsim/rateless.py`, by contrast, a receiver accumulates the
bits that an ideal code would give it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from math import inf
from typing import ClassVar, NamedTuple

from netsim.instants import GIVE_UP, After, reached
from netsim.process import Process
from netsim.radio.band import Band, Transmission
from netsim.radio.device import Radio
from netsim.radio.flow.medium import FlowMedium
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.link import SymbolLink
from netsim.rateless import RatelessStream
from netsim.reception import Payload, Reception
from netsim.sums import in_order
from netsim.transfer import AirInterface

SPENT = 1e-12
"""Relative tolerance of an energy budget that is used up."""
ENDLESS = 1e10
"""Symbols after which a steady stream ends by itself: 14 hours at 100 kHz."""


class Heard(NamedTuple):
    """Consecutive symbols that were heard at one signal-to-noise ratio."""

    station: str
    """Name of the station that transmitted them."""
    first: float
    """Number of symbols of the stream that the station had transmitted before."""
    symbols: float
    """Number of symbols; a reception that ends early can end within a symbol."""
    snr: float
    """Mean ratio of received power to noise and interference, as a plain ratio."""


@dataclass(eq=False)
class SymbolReception(Reception):
    """One user's part of a symbol stream; its bits are symbols."""

    of_symbols: ClassVar[bool] = True
    ends_itself: ClassVar[bool] = True

    stream: SymbolStream
    max_energy_j: float = inf
    """Energy in J that the radio may spend on listening; inf is no limit."""
    heard: list[Heard] = field(default_factory=list, init=False)
    """What was heard, in order: one entry for each fading block and station."""
    _first: float = field(default=0.0, init=False)
    _symbols: float = field(default=0.0, init=False)  # of all entries
    _sending_s: float = field(default=0.0, init=False)
    _signal_time: float = field(default=0.0, init=False)

    def begin(self, stream: Hashable | None = None) -> Transmission:
        transmission = super().begin(stream)
        self._first = self.stream.join(self)
        return transmission

    def arrive(self) -> None:
        super().arrive()
        if self.transmission is not None and not self.transmission.done.triggered:
            self._first = self.stream.join(self)

    def completed(self, transmission: Transmission) -> Process[None]:
        """Wait until all symbols are received or the energy is spent, and note each fading block as it ends."""
        env = self.radio.env
        while not transmission.done.triggered:
            change_s = min(self._spent_s(), self._border_s())
            yield transmission.done if change_s == inf else transmission.done | After(env, change_s, GIVE_UP)
            self.note()
            if self._energy_j() >= self.max_energy_j * (1 - SPENT):
                return

    def leave(self) -> None:
        self.note()
        self.stream.leave(self)
        super().leave()

    def end(self) -> None:
        self.note()
        self.stream.leave(self)
        self.stream.spend(self.radio.user, 0.0 if self.transmission is None else self._energy_j())
        self.on_air_bits = self.stream.account()
        super().end()

    def note(self) -> None:
        """Note what was heard since the last call."""
        if self.transmission is None:
            return
        flow = self._flow
        self._band.update(flow)
        symbols, sending_s = flow.delivered_bits - self._symbols, flow.sending_s - self._sending_s
        if symbols > 0 and sending_s > 0:
            snr = (flow.signal_time - self._signal_time) / sending_s
            self.heard.append(Heard(self.radio.station, self._first, symbols, snr))
            self._first += symbols
            self._symbols, self._sending_s, self._signal_time = flow.delivered_bits, flow.sending_s, flow.signal_time
            self.stream.transmitted(self.radio.station, self._first)

    @property
    def _flow(self) -> FlowTransmission:
        assert isinstance(self.transmission, FlowTransmission), "a symbol stream begins in flow fidelity only"
        return self.transmission

    def _border_s(self) -> float:
        """End in seconds of the present fading block."""
        length_s, now_s = self.radio.link.coherence_time_s, self.radio.env.now
        if length_s == inf:
            return inf
        border_s = (now_s // length_s + 1) * length_s
        return border_s + length_s if reached(border_s, now_s) else border_s

    def _spent_s(self) -> float:
        """When the energy is spent, in seconds, if the radio listens from now on."""
        power_w = self.radio.circuit_power_w
        if self.max_energy_j == inf or power_w == 0:
            return inf
        return self.radio.env.now + (self.max_energy_j - self._energy_j()) / power_w

    def _energy_j(self) -> float:
        flow, now_s = self._flow, self.radio.env.now
        return (now_s - flow.start_s - flow.handover_gap.until_s(now_s)) * self.radio.circuit_power_w


class SymbolStream(RatelessStream):
    """A message as an unlimited stream of modulated symbols.

    It is on the air while a receiver listens; or, if it is steady, from when the first one does until `end`. In the
    band of a station a steady stream is a transmission of its own, beside those of the receivers, that nobody pays for.
    """

    def __init__(
        self,
        air: AirInterface,
        kind: str,
        receivers: int,
        deadline_s: float,
        fetch: Callable[[], Process[None]],
        steady: bool = False,
    ) -> None:
        """Prepare a stream; it starts when the first receiver listens. Arguments as in `RatelessStream`.

        `steady` is True if the stream is on the air until `end` or the deadline, whether a receiver listens or not.

        Raises:
            ValueError: the band is divided slot by slot, in which symbols have no ratios of their own.
        """
        if not isinstance(air.band, FlowMedium):
            raise ValueError("a stream of symbols needs the fidelity flow of the downlink; slots carry coded blocks")
        super().__init__(air, inf, kind, receivers, deadline_s, fetch)
        self._wanted: dict[int, tuple[float, float]] = {}  # by user: symbols, energy in J
        self._receptions: dict[int, SymbolReception] = {}  # by user, the latest
        self._listening: dict[str, list[SymbolReception]] = {}  # by station
        self._transmitted: dict[str, float] = {}  # symbols by station
        self._spent_j: dict[int, float] = {}  # by user
        self._steady, self._ended = steady, False
        self._carriers: dict[str, tuple[Band, Transmission]] = {}  # of a steady stream, by station
        self._accounted = 0.0

    def hear(self, radio: Radio, symbols: float, max_energy_j: float = inf) -> Process[list[Heard]]:
        """Listen to so many symbols.

        Args:
            radio: downlink radio of the receiver.
            symbols: number of symbols after which it stops.
            max_energy_j: energy in J of the radio for all that it hears of the stream, at which it stops; inf is no
                limit.

        Returns:
            What was heard, in order; fewer symbols if the end of the stream or the energy comes first.

        Raises:
            simpy.Interrupt: the receiver was interrupted.
        """
        if radio.link.recorded is not None:
            raise ValueError("a stream of symbols needs a channel; recorded rates have no signal-to-noise ratio")
        left_j = max_energy_j - self._spent_j.get(radio.user, 0.0)
        if self._ended or left_j <= SPENT * max_energy_j < inf:
            return []
        self._wanted[radio.user] = symbols, left_j
        self._receptions.pop(radio.user, None)
        yield from self.receive(radio)
        reception = self._receptions.get(radio.user)
        return reception.heard if reception is not None else []

    def _listen(self, radio: Radio) -> Process[None]:
        yield from self._fetched()
        symbols, max_energy_j = self._wanted[radio.user]

        def received(radio: Radio, payload: Payload) -> SymbolReception:
            self._receptions[radio.user] = reception = SymbolReception(radio, payload, self, max_energy_j)
            return reception

        yield from self.air.transfer(radio, symbols, self.kind, self, self.receivers, received)

    def join(self, reception: SymbolReception) -> float:
        """A reception begins at its present station; returns the number of symbols that the station has transmitted."""
        station = reception.radio.station
        listening = self._listening.setdefault(station, [])
        if self._steady and not self._ended and station not in self._carriers:
            self._begin(reception.radio)
        self._note(station)
        for other in listening[:1]:
            other.note()
        listening.append(reception)
        return self._transmitted.setdefault(station, 0.0)

    def leave(self, reception: SymbolReception) -> None:
        """A reception ends at its present station, if it is there."""
        listening = self._listening.get(reception.radio.station, [])
        if reception in listening:
            listening.remove(reception)

    def transmitted(self, station: str, symbols: float) -> None:
        """A station has transmitted at least so many symbols."""
        self._transmitted[station] = max(self._transmitted[station], symbols)

    def spend(self, user: int, energy_j: float) -> None:
        """A reception of a user has ended that took so much energy of its radio."""
        self._spent_j[user] = self._spent_j.get(user, 0.0) + energy_j

    def end(self) -> None:
        """End a steady stream; what was transmitted while nobody listened is counted."""
        self._ended = True
        for station, (band, transmission) in self._carriers.items():
            self._note(station)
            band.end(transmission)
        self._carriers.clear()
        self.air.journal.unheard(self.account())

    def _begin(self, radio: Radio) -> None:
        """Be on the air of a user's station from now on."""
        if self._over is not None and not self._carriers:
            assert self._over.callbacks is not None, "nobody begins to listen after the deadline"
            self._over.callbacks.append(lambda _: self.end())
        transmission = radio.band.begin(SymbolLink(radio.link), (radio.user,), ENDLESS, None, self)
        self._carriers[radio.station] = radio.band, transmission

    def _note(self, station: str) -> None:
        """Note what a steady stream has transmitted at a station."""
        if station in self._carriers:
            band, transmission = self._carriers[station]
            band.update(transmission)
            self._transmitted.setdefault(station, 0.0)
            self.transmitted(station, transmission.delivered_bits)

    def account(self) -> float:
        """Return the symbols transmitted by all stations since the last call."""
        total = in_order(self._transmitted.values())
        new, self._accounted = total - self._accounted, total
        return new
