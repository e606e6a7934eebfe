"""Co-channel interference: a signal on the air raises the noise of receivers at the other stations of its channel.

The model has no position of a sender's part within the band, so its power is spread evenly over the whole band, and for
senders that alternate, over time as well. Between a sender and the receivers that it interferes with only the mean gain
is used: path loss, shadowing and antennas. The noise of a receiver rises by a factor that changes whenever a
transmission on the channel begins, ends, or gets another part of a band.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Protocol

import numpy as np
import simpy
from annotated_types import Ge

from netsim.radio.band import Band, Transmission
from netsim.radio.scheduling import SchedulingGrant
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

    def interference(self, senders: Sequence[Sender]) -> Iterator[list[float]]:
        """Yield for each sender the interference at its receivers, in Hz: its power over the noise power density."""
        ...


@dataclass
class Sender:
    """A signal on the air, of a station or of a user: one transmission, or all those of a rateless stream."""

    station: int
    """Number of the station that transmits or receives."""
    transmissions: Sequence[Transmission]
    grant: SchedulingGrant

    @property
    def receivers(self) -> list[int]:
        """Numbers of the users that the signal serves."""
        return [user for transmission in self.transmissions for user in transmission.receivers]


@dataclass
class Uplink:
    """Uplink: users transmit, stations receive."""

    powers: Powers

    def interference(self, senders: Sequence[Sender]) -> Iterator[list[float]]:
        users = [sender.receivers[0] for sender in senders]
        served_by = np.array([sender.station for sender in senders])
        sent_w = self.powers.users_w[users] * np.array([sender.grant.radiated for sender in senders])
        received_w = sent_w[:, None] * self.powers.gains[users]
        elsewhere = served_by[:, None] != np.arange(received_w.shape[1])
        at_stations = (received_w * elsewhere).sum(axis=0) / self.powers.station_noise_w_per_hz
        return ([at_stations.item(sender.station)] for sender in senders)


@dataclass
class Downlink:
    """Downlink: stations transmit, users receive."""

    powers: Powers

    def interference(self, senders: Sequence[Sender]) -> Iterator[list[float]]:
        sent_w = np.zeros(self.powers.gains.shape[1])
        for sender in senders:
            sent_w[sender.station] += self.powers.station_w * sender.grant.band * sender.grant.radiated
        counts = [len(sender.receivers) for sender in senders]
        received_w = self.powers.gains[[user for sender in senders for user in sender.receivers]] * sent_w
        received_w[np.arange(len(received_w)), np.repeat([sender.station for sender in senders], counts)] = 0.0
        of_receivers = iter((received_w.sum(axis=1) / self.powers.user_noise_w_per_hz).tolist())
        return (list(islice(of_receivers, count)) for count in counts)


class FrequencyChannel:
    """The bands, in one direction, of all stations that use a channel."""

    def __init__(self, env: simpy.Environment, direction: Direction) -> None:
        self.env, self.direction = env, direction
        self._media: dict[int, Band] = {}
        self._settling = False

    def add(self, station: int, medium: Band) -> None:
        """Add the band of a station to the channel."""
        self._media[station] = medium
        medium.changed = self.changed

    def changed(self) -> None:
        """Update all rates of the channel at the end of this instant, because a transmission or a gain has changed."""
        if not self._settling:
            self._settling = True
            Settling(self.env, self._settle, VERY_LAST)

    def _settle(self, _: simpy.Event) -> None:
        self._settling = False
        senders = [
            Sender(station, transmissions, grant)
            for station, medium in self._media.items()
            for transmissions, grant in medium.sending()
        ]
        stale: dict[int, list[Transmission]] = {station: [] for station in self._media}
        if senders:
            for sender, interference in zip(senders, self.direction.interference(senders), strict=True):
                stale[sender.station] += self._raise_noise(sender, interference)
        for station, medium in self._media.items():
            medium.apply(stale[station])

    def _raise_noise(self, sender: Sender, interference: Sequence[float]) -> list[Transmission]:
        """Set the noise at all receivers of a signal; returns the transmissions for which it has changed."""
        band_hz, of_receivers = self._media[sender.station].bandwidth_hz, iter(interference)
        stale = []
        for transmission in sender.transmissions:
            changed = False
            for link, received_hz in zip(transmission.link.links, of_receivers, strict=False):
                rise = 1 + received_hz / band_hz
                changed |= rise != link.noise_rise
                link.noise_rise = rise
            if changed:
                stale.append(transmission)
        return stale


def couple_interference(
    env: simpy.Environment, direction: Direction, media: Sequence[Band], channels: Sequence[int]
) -> None:
    """Couple the bands of stations on the same channel by interference from now on.

    `media` and `channels` have an entry for each station, in order: its band in this direction, and its channel.
    """
    on = {channel: FrequencyChannel(env, direction) for channel in channels}
    for station, (medium, channel) in enumerate(zip(media, channels, strict=True)):
        on[channel].add(station, medium)
