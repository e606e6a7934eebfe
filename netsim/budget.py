"""The link budget: transmit powers, mean gains and noise of all links between users and stations, at present."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal

import numpy as np

from netsim.coupling import Attenuation, Coupling
from netsim.description import BandDescription, NetworkDescription
from netsim.geometry import Point
from netsim.lazy import Lazy
from netsim.mobility import Walk
from netsim.radio.fading import Gains, resource_blocks_hz
from netsim.radio.fidelity import Slots
from netsim.radio.interference import Powers
from netsim.radio.link import RadioLink
from netsim.streams import Streams
from netsim.units import MAX_DB, MIN_RECURRING_S, from_db, to_db, watts

LinkDirection = Literal["up", "down"]
"""Uplink or downlink."""


class LinkBudget:
    """Positions, powers and mean gains of all users and stations; `move` updates them."""

    def __init__(self, network: NetworkDescription, streams: Streams, *, lazy: bool = False) -> None:
        """Place the users and draw what is random about their links.

        Args:
            network: the section `network` of the scenario.
            streams: random numbers of the run.
            lazy: True places a user when it is needed, until `forget`; there are no `powers` then.

        Raises:
            ValueError: a model is used outside of its range, or does not fit the users; the message is one sentence.
        """
        self._network, self._streams = network, streams
        users, stations, noise_dbm = network.users, network.stations, network.channel.noise_dbm_per_hz
        self._coupling = Coupling(network, streams, lazy=lazy)
        placed = users.placement.users(users.count, self._coupling.sites, streams)
        self._walks = self._start_walks(placed)
        self.places: Sequence[Point] = [walk.at(0.0) for walk in self._walks] or placed
        """Present position of each user in metres."""
        self._given_dbm = users.tx_power_dbm.of_users(users.count, streams, "transmit power")
        self._max_dbm = Lazy(users.count, self._checked_dbm, now=not lazy)
        self._attenuations = Lazy(users.count, self._attenuated, now=not lazy)
        self.serving = Lazy(users.count, self._best, now=not lazy)
        """Number of the serving station of each user."""
        self._antennas_db = stations.antenna_gain_db + users.antenna_gain_db
        self._users_w = Lazy(users.count, self._controlled_w, now=not lazy)
        together = () if lazy else range(users.count)
        self.powers = Powers(
            gains=np.array([self._gains(user) for user in together]),
            users_w=np.array([self._users_w[user] for user in together]),
            station_w=watts(stations.tx_power_dbm),
            user_noise_w_per_hz=watts(noise_dbm + users.noise_figure_db),
            station_noise_w_per_hz=watts(noise_dbm + stations.noise_figure_db),
        )
        sharing, channel = network.sharing, network.channel
        self._bands: dict[LinkDirection, BandDescription] = {"up": sharing.uplink, "down": sharing.downlink}
        self._recordings = {"up": channel.uplink_recording, "down": channel.downlink_recording}
        self._fading = {direction: self._fading_of(direction) for direction in self._bands}

    def forget(self) -> None:
        """Drop what is known about users; it is computed again, the same, when it is needed. Only if lazy."""
        self._coupling.forget()
        for known in (self._max_dbm, self._attenuations, self.serving, self._users_w):
            known.forget()

    def _checked_dbm(self, user: int) -> float:
        power_dbm = self._given_dbm[user]
        if not abs(power_dbm) <= MAX_DB:
            raise ValueError(
                f"the transmit power of user {user} is {power_dbm:g} dBm; {-MAX_DB:g} to {MAX_DB:g} is allowed"
            )
        return power_dbm

    def _attenuated(self, user: int) -> list[Attenuation]:
        (row,) = self._coupling.of_users(self.places, [user])
        return row

    def _best(self, user: int) -> int:
        """The station received best on average, the first of equals: all transmit with one power."""
        return min(self._attenuations[user], key=lambda each: each.total_db).station

    def _controlled_w(self, user: int) -> float:
        """Transmit power of a user in W, by power control if the scenario has it."""
        control, max_dbm = self._network.users.power_control, self._max_dbm[user]
        if control is None:
            return watts(max_dbm)
        return watts(control.power_dbm(max_dbm, self.coupling_loss_db(user, self.serving[user])))

    @property
    def stations(self) -> int:
        """Number of stations; each sector counts as one."""
        return self._coupling.stations

    def _start_walks(self, placed: Sequence[Point]) -> list[Walk]:
        mobility = self._network.mobility
        if mobility is None:
            return []
        mobility.model.check(len(placed))
        return [Walk(mobility.model.legs(user, place, self._streams), place) for user, place in enumerate(placed)]

    def move(self, instant_s: float) -> list[int]:
        """Move all users to their positions at an instant, and update their mean gains.

        Args:
            instant_s: simulated time in seconds, not before that of the last call.

        Returns:
            The numbers of the users whose position has changed since the last call.
        """
        before, self.places = self.places, [walk.at(instant_s) for walk in self._walks]
        moved = [user for user, place in enumerate(self.places) if place != before[user]]
        for user, attenuations in zip(moved, self._coupling.of_users(self.places, moved), strict=True):
            self._attenuations[user] = attenuations
            self.powers.gains[user] = self._gains(user)
        return moved

    @property
    def moving(self) -> bool:
        """True if any user will still move."""
        return any(walk.leg.end_s < inf for walk in self._walks)

    def attenuation(self, user: int, station: int) -> Attenuation:
        """Return the present attenuation between a user and a station, part by part."""
        return self._attenuations[user][station]

    def coupling_loss_db(self, user: int, station: int) -> float:
        """Return path loss plus shadowing minus the antenna gains of both ends, in dB."""
        return self.attenuation(user, station).total_db - self._antennas_db

    def control_power(self, user: int) -> None:
        """Set the transmit power of a user by power control, if the scenario has it."""
        self._users_w[user] = self.powers.users_w[user] = self._controlled_w(user)

    def power_w(self, direction: LinkDirection, user: int) -> float:
        """Return the transmit power in W of the user (up), or of its station (down)."""
        return self._users_w[user] if direction == "up" else self.powers.station_w

    def tx_power_dbm(self, user: int) -> float:
        """Return the present transmit power of a user in dBm."""
        if self._network.users.power_control is None:
            return self._max_dbm[user]
        return to_db(self.power_w("up", user)) + 30

    def link(self, direction: LinkDirection, user: int, station: int) -> RadioLink:
        """Return a new link between a user and a station, with independent fading named by the three arguments."""
        key = self._streams.key("fading", direction, user, station)
        mean_hz, channel = self._mean_power_over_noise_hz(direction, user, station), self._network.channel
        recording, bandwidth_hz = self._recordings[direction], self._bands[direction].bandwidth_hz
        recorded = None if recording is None else recording.playback(user, self._streams)
        return RadioLink(mean_hz, self._fading[direction], key, channel.rate, recorded, bandwidth_hz)

    def update_link(self, link: RadioLink, direction: LinkDirection, user: int) -> None:
        """Set the mean gain of a user's link to its serving station to the present value."""
        link.mean_power_over_noise_hz = self._mean_power_over_noise_hz(direction, user, self.serving[user])

    def _mean_power_over_noise_hz(self, direction: LinkDirection, user: int, station: int) -> float:
        """Mean received power over the noise power density of the receiver, in Hz."""
        powers, gain = self.powers, self._gain(self.attenuation(user, station))
        noise_w_per_hz = powers.station_noise_w_per_hz if direction == "up" else powers.user_noise_w_per_hz
        return self.power_w(direction, user) * gain / noise_w_per_hz

    def _fading_of(self, direction: LinkDirection) -> Gains:
        """Fading over the resource blocks of a band.

        Raises ValueError if its blocks are too short, or if a band at slot level has recorded rates.
        """
        channel, band = self._network.channel, self._bands[direction]
        blocks = band.fidelity.resource_blocks if isinstance(band.fidelity, Slots) else None
        if blocks is not None and self._recordings[direction] is not None:
            raise ValueError(f"the {direction}link has recorded rates, so its band cannot be simulated slot by slot")
        gains = channel.fading.at(channel.carrier_ghz * 1e9, resource_blocks_hz(band.bandwidth_hz, blocks))
        if gains.coherence_time_s < MIN_RECURRING_S:
            raise ValueError(
                f"a fading block lasts {gains.coherence_time_s:.3g} s, for the Doppler shift; "
                f"at least {MIN_RECURRING_S:g} s are allowed"
            )
        return gains

    def _gains(self, user: int) -> list[float]:
        return [self._gain(each) for each in self._attenuations[user]]

    def _gain(self, attenuation: Attenuation) -> float:
        return from_db(self._antennas_db - attenuation.total_db)
