"""The link budget: powers, mean gains and noise, and what of it all arrives at either end of each link, now."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal

import numpy as np

from netsim.coupling import Attenuation, Coupling
from netsim.description import BandDescription, NetworkDescription
from netsim.geometry import Point
from netsim.mobility import Walk
from netsim.radio.fading import Gains, resource_blocks_hz
from netsim.radio.fidelity import Slots
from netsim.radio.interference import Powers
from netsim.radio.link import RadioLink
from netsim.streams import Streams
from netsim.units import MAX_DB, from_db, to_db, watts

Way = Literal["up", "down"]


class LinkBudget:
    """Follows the users wherever they go. Raises ValueError, in one sentence, where a law does not hold."""

    def __init__(self, network: NetworkDescription, streams: Streams) -> None:
        self._network, self._streams = network, streams
        users, stations, noise_dbm = network.users, network.stations, network.channel.noise_dbm_per_hz
        self._coupling = Coupling(network, streams)
        placed = users.placement.users(users.count, self._coupling.sites, streams)
        self._walks = self._setting_out(placed)
        self.places = [walk.at(0.0) for walk in self._walks] or placed
        self._max_dbm = users.tx_power_dbm.of_users(users.count, streams, "transmit power")
        for user, power_dbm in enumerate(self._max_dbm):
            if not abs(power_dbm) <= MAX_DB:
                raise ValueError(
                    f"the transmit power of user {user} is {power_dbm:g} dBm; {-MAX_DB:g} to {MAX_DB:g} is allowed"
                )
        self._pairs = self._coupling.of_users(self.places, range(users.count))
        # Each is served by the station that it receives best on average, the first of equals; all send with one power.
        self.serving = [min(pairs, key=lambda pair: pair.total_db).station for pairs in self._pairs]
        self._antennas_db = stations.antenna_gain_db + users.antenna_gain_db
        self.powers = Powers(
            gains=np.array([self._gains(user) for user in range(users.count)]),
            users_w=np.array([watts(power_dbm) for power_dbm in self._max_dbm]),
            station_w=watts(stations.tx_power_dbm),
            user_noise_w_per_hz=watts(noise_dbm + users.noise_figure_db),
            station_noise_w_per_hz=watts(noise_dbm + stations.noise_figure_db),
        )
        self._bands: dict[Way, BandDescription] = {"up": network.sharing.uplink, "down": network.sharing.downlink}
        self._recordings = {"up": network.channel.uplink_recording, "down": network.channel.downlink_recording}
        self._fading = {way: self._fading_of(way) for way in self._bands}
        for user in range(users.count):
            self.control_power(user)

    @property
    def stations(self) -> int:
        """How many there are; each sector of a site is one."""
        return self._coupling.stations

    def _setting_out(self, placed: Sequence[Point]) -> list[Walk]:
        mobility = self._network.mobility
        if mobility is None:
            return []
        mobility.model.check(len(placed))
        return [Walk(mobility.model.legs(user, place, self._streams), place) for user, place in enumerate(placed)]

    def move(self, instant_s: float) -> list[int]:
        """Users are where they are at an instant. Returns those that have moved since the last."""
        before, self.places = self.places, [walk.at(instant_s) for walk in self._walks]
        moved = [user for user, place in enumerate(self.places) if place != before[user]]
        for user, pairs in zip(moved, self._coupling.of_users(self.places, moved), strict=True):
            self._pairs[user] = pairs
            self.powers.gains[user] = self._gains(user)
        return moved

    @property
    def moving(self) -> bool:
        """Whether any user will be elsewhere one day."""
        return any(walk.leg.end_s < inf for walk in self._walks)

    def pair(self, user: int, station: int) -> Attenuation:
        """What lies between a user and a station."""
        return self._pairs[user][station]

    def coupling_loss_db(self, user: int, station: int) -> float:
        """Path loss and shadowing less the antenna gains of both ends."""
        return self.pair(user, station).total_db - self._antennas_db

    def control_power(self, user: int) -> None:
        """Choose the power with which a user sends from now on."""
        control, max_dbm = self._network.users.power_control, self._max_dbm[user]
        if control is not None:
            self.powers.users_w[user] = watts(
                control.power_dbm(max_dbm, self.coupling_loss_db(user, self.serving[user]))
            )

    def power_w(self, way: Way, user: int) -> float:
        """What is radiated to send from or to a user."""
        return float(self.powers.users_w[user]) if way == "up" else self.powers.station_w

    def tx_power_dbm(self, user: int) -> float:
        """With how much power a user sends."""
        if self._network.users.power_control is None:
            return self._max_dbm[user]
        return to_db(self.power_w("up", user)) + 30

    def link(self, way: Way, user: int, station: int) -> RadioLink:
        """A link between a user and a station, which fades for itself."""
        key = self._streams.key("fading", way, user, station)
        mean_hz, channel = self._mean_power_over_noise_hz(way, user, station), self._network.channel
        recording = self._recordings[way]
        recorded = None if recording is None else recording.playback(user, self._streams)
        return RadioLink(mean_hz, self._fading[way], key, channel.rate, recorded, self._bands[way].bandwidth_hz)

    def tune(self, link: RadioLink, way: Way, user: int) -> None:
        """Bring the mean gain of a user's link to the station that serves it up to date."""
        link.mean_power_over_noise_hz = self._mean_power_over_noise_hz(way, user, self.serving[user])

    def _mean_power_over_noise_hz(self, way: Way, user: int, station: int) -> float:
        """What arrives over the noise power density at the receiver, on average over fading."""
        powers = self.powers
        noise_w_per_hz = powers.station_noise_w_per_hz if way == "up" else powers.user_noise_w_per_hz
        return self.power_w(way, user) * float(powers.gains[user, station]) / noise_w_per_hz

    def _fading_of(self, way: Way) -> Gains:
        """Over the resource blocks of the band. Raises ValueError if the band has slots, but rates were recorded."""
        channel, band = self._network.channel, self._bands[way]
        blocks = band.fidelity.resource_blocks if isinstance(band.fidelity, Slots) else None
        if blocks is not None and self._recordings[way] is not None:
            raise ValueError(f"the {way}link is recorded as a flow of bits; its band cannot be looked at slot by slot")
        return channel.fading.at(channel.carrier_ghz * 1e9, resource_blocks_hz(band.bandwidth_hz, blocks))

    def _gains(self, user: int) -> list[float]:
        return [from_db(self._antennas_db - pair.total_db) for pair in self._pairs[user]]
