"""Co-channel interference: a signal on the air raises the noise of receivers at the other stations of its channel.

The model has no position of a sender's part within the band, so its power is spread evenly over the whole band, and for
senders that alternate, over time as well. Between a sender and the receivers that it interferes with only the mean gain
is used: path loss, shadowing and antennas. The noise of a receiver rises by a factor that changes whenever a
transmission on the channel begins, ends, or gets another part of a band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
import simpy
from annotated_types import Ge

from netsim.radio.band import Band, ChannelSignals, Interfering, Transmission
from netsim.radio.link import Carrying
from netsim.radio.settling import VERY_LAST, Settling
from netsim.streams import Floats


@dataclass(frozen=True)
class Interference:
    """Stations on the same channel interfere with each other, and with each other's users."""

    reuse: Annotated[int, Ge(1)] = 1
    """Reuse factor, the number of channels: station k uses channel k modulo this. With three sectors at each site, 3
    gives each sector of a site a different channel. The bandwidth in `sharing` is that of one channel."""
    channels_of_stations: tuple[Annotated[int, Ge(0)], ...] | None = None
    """Channels of stations 0, 1, 2 and so on, instead of `reuse`; null uses `reuse`."""

    def channels(self, stations: int) -> list[int]:
        """Return the channel of each of `stations` stations. Raises ValueError if the list has another length."""
        if self.channels_of_stations is None:
            return [station % self.reuse for station in range(stations)]
        if len(self.channels_of_stations) != stations:
            given = len(self.channels_of_stations)
            raise ValueError(f"channels of {given} stations are given, but there are {stations} stations")
        return list(self.channels_of_stations)


@dataclass
class Powers:
    """The present powers, gains and noise that determine interference; all may change with time."""

    gains: Floats
    """Mean power gains as plain ratios, with antennas, shape (users, stations)."""
    users_w: Floats
    """Transmit power of each user in W, shape (users,)."""
    station_w: float
    """Transmit power of every station in W."""
    user_noise_w_per_hz: float
    """Noise power density at a user's receiver in W/Hz."""
    station_noise_w_per_hz: float
    """Noise power density at a station's receiver in W/Hz."""


class Direction(Protocol):
    """The interference model of a direction, uplink or downlink."""

    def interference_hz(self, signals: ChannelSignals) -> Floats:
        """Return the interference at each of the receivers, in Hz: its power over the noise power density."""
        ...


@dataclass
class Uplink:
    """Uplink: users transmit, stations receive."""

    powers: Powers

    def interference_hz(self, signals: ChannelSignals) -> Floats:
        sent_w = self.powers.users_w[signals.users] * signals.radiated
        received_w = sent_w[:, None] * self.powers.gains[signals.users]
        elsewhere = signals.stations[:, None] != np.arange(received_w.shape[1])
        at_stations = (received_w * elsewhere).sum(axis=0) / self.powers.station_noise_w_per_hz
        return np.asarray(at_stations[signals.served_by])


@dataclass
class Downlink:
    """Downlink: stations transmit, users receive."""

    powers: Powers

    def interference_hz(self, signals: ChannelSignals) -> Floats:
        of_signals_w = self.powers.station_w * signals.band * signals.radiated
        sent_w = np.bincount(signals.stations, of_signals_w, self.powers.gains.shape[1])
        received_w = self.powers.gains[signals.receivers] * sent_w
        received_w[np.arange(len(received_w)), signals.served_by] = 0.0
        return np.asarray(received_w.sum(axis=1) / self.powers.user_noise_w_per_hz)


class OneByOne:
    """The bands of some stations, whose signals are looked at one by one: `Interfering` has the interface."""

    def __init__(self) -> None:
        self._bands: dict[int, Band] = {}
        self._on_air: list[tuple[int, Sequence[Transmission]]] = []  # stations and transmissions of the signals

    def add(self, station: int, band: Band) -> None:
        """Add the band of a station."""
        self._bands[station] = band

    def signals(self) -> ChannelSignals:
        sending = [(number, *each) for number, band in self._bands.items() for each in band.sending()]
        self._on_air = [(station, transmissions) for station, transmissions, _ in sending]
        receivers = [[user for one in transmissions for user in one.receivers] for _, transmissions, _ in sending]
        stations = np.array([station for station, *_ in sending], np.intp)
        return ChannelSignals(
            stations,
            np.array([users[0] for users in receivers], np.intp),
            np.array([grant.band for *_, grant in sending], np.float64),
            np.array([grant.radiated for *_, grant in sending], np.float64),
            np.array([user for users in receivers for user in users], np.intp),
            np.repeat(stations, [len(users) for users in receivers]),
        )

    def interfere(self, interference_hz: Floats) -> None:
        stale: dict[int, list[Transmission]] = {station: [] for station in self._bands}
        received_hz = iter(interference_hz.tolist())
        for station, transmissions in self._on_air:
            band_hz = self._bands[station].bandwidth_hz
            for transmission in transmissions:
                rises = [1 + next(received_hz) / band_hz for _ in transmission.receivers]
                if raise_noise(transmission.link, rises):
                    stale[station].append(transmission)
        for station, band in self._bands.items():
            band.refresh(stale[station])


def raise_noise(link: Carrying, noise_rises: Sequence[float]) -> bool:
    """Set the noise and interference over noise at all receivers of a link; returns whether it has changed."""
    changed = False
    for own, noise_rise in zip(link.links, noise_rises, strict=True):
        changed |= noise_rise != own.noise_rise
        own.noise_rise = noise_rise
    return changed


class FrequencyChannel:
    """The bands, in one direction, of all stations that use a channel."""

    def __init__(self, env: simpy.Environment, direction: Direction) -> None:
        self.env, self.direction = env, direction
        self._bands: Interfering | None = None
        self._settling = False

    def add(self, station: int, band: Band) -> None:
        """Add the band of a station to the channel."""
        self._bands = band.interfering(station, self.changed, self._bands)

    def changed(self) -> None:
        """Update all rates of the channel at the end of this instant, because a transmission or a gain has changed."""
        if not self._settling:
            self._settling = True
            Settling(self.env, self._settle, VERY_LAST)

    def _settle(self, _: simpy.Event) -> None:
        self._settling = False
        assert self._bands is not None, "only a band of the channel causes a change"
        self._bands.interfere(self.direction.interference_hz(self._bands.signals()))


def couple_interference(
    env: simpy.Environment, direction: Direction, media: Sequence[Band], channels: Sequence[int]
) -> None:
    """Couple the bands of stations on the same channel by interference from now on.

    `media` and `channels` have an entry for each station, in order: its band in this direction, and its channel.
    """
    on = {channel: FrequencyChannel(env, direction) for channel in channels}
    for station, (medium, channel) in enumerate(zip(media, channels, strict=True)):
        on[channel].add(station, medium)
