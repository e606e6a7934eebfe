"""The network: users and a server, built from a description."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import simpy

from netsim.background import Background
from netsim.coupling import Attenuation, Coupling
from netsim.description import BandDescription, ComputeDescription, EnergyDescription, NetworkDescription
from netsim.energy import Meter
from netsim.faults import Presence
from netsim.faults.causes import strike
from netsim.journal import Journal
from netsim.nodes import Server, Station, User
from netsim.processor import Processor
from netsim.radio.interference import Downlink, Interference, Powers, Uplink, disturb
from netsim.radio.link import Link
from netsim.radio.medium import Medium
from netsim.radio.sharing import Scheduler
from netsim.slowdown import Slowdowns
from netsim.streams import Streams
from netsim.tables import UserRow
from netsim.transfer import AirInterface, Radio
from netsim.units import from_db, watts


class Network:
    """Everything that spends simulated time. `users` and `server` do the work, `journal` writes it down.

    Raises ValueError, in one sentence, if the description cannot be.
    """

    def __init__(
        self,
        env: simpy.Environment,
        streams: Streams,
        journal: Journal,
        network: NetworkDescription,
        compute: ComputeDescription,
        energy: EnergyDescription,
    ) -> None:
        self.env, self.streams, self.journal = env, streams, journal
        self._network, self._compute, self._energy = network, compute, energy
        count = network.users.count
        self.coupling = Coupling(network, streams)
        self.positions = network.users.placement.users(count, self.coupling.sites, streams)
        self._tx_power_dbm = network.users.tx_power_dbm.of_users(count, streams, "transmit power")
        self._flops_per_s = compute.devices.flops_per_s.of_users(count, streams, "device speed")
        for user, speed in enumerate(self._flops_per_s):
            if speed <= 0:
                raise ValueError(f"the device speed of user {user} is {speed:g} FLOP/s; it must be positive")
        pairs = self.coupling.of_users(self.positions)
        # Each is served by the station that it receives best on average, the first of equals; all send with one power.
        self._attenuations = [min(of_user, key=lambda pair: pair.total_db) for of_user in pairs]
        law = compute.stragglers.law
        law.check(count)
        self._slowdowns = Slowdowns(law, compute.stragglers.redraw, streams)
        sharing = network.sharing
        self._schedulers = {"up": sharing.uplink.law.scheduler(), "down": sharing.downlink.law.scheduler()}
        self.stations = [self._station(number) for number in range(self.coupling.stations)]
        self.users = [self._user(number) for number in range(count)]
        strike(network.faults, [user.presence for user in self.users], Background(env), streams)
        self.server = Server(env, self._server_processor())
        if network.interference is not None:
            self._disturb(network.interference, pairs)

    def record_users(self) -> None:
        """Write the `users` table; call it once, when the users' `samples` are known."""
        for user in self.users:
            attenuation = self._attenuations[user.number]
            x_m, y_m = self.positions[user.number]
            row = UserRow(
                user=user.number,
                station=attenuation.station,
                x_m=x_m,
                y_m=y_m,
                distance_m=attenuation.distance_m,
                path_loss_db=attenuation.path_loss_db,
                flops_per_s=user.processor.flops_per_s,
                samples=user.samples,
                shadowing_db=attenuation.shadowing_db,
                line_of_sight=attenuation.line_of_sight,
                tx_power_dbm=self._tx_power_dbm[user.number],
                coupling_loss_db=attenuation.total_db - self._antennas_db,
            )
            self.journal.trace.add("users", *row)

    def record_end(self) -> None:
        """Write down what lasts beyond the end of the run."""
        for user in self.users:
            user.presence.record()

    @property
    def gone(self) -> int:
        """How many devices will never return."""
        return sum(user.gone for user in self.users)

    @property
    def _antennas_db(self) -> float:
        """Gains of both ends that do not depend on the direction."""
        return self._network.stations.antenna_gain_db + self._network.users.antenna_gain_db

    def _station(self, number: int) -> Station:
        node, sharing = f"station{number}", self._network.sharing
        up = self._medium(number, sharing.uplink, self._schedulers["up"], spread=False)
        down = self._medium(number, sharing.downlink, self._schedulers["down"], spread=True)
        return Station(
            number, AirInterface(self.journal, up, node, "up"), AirInterface(self.journal, down, node, "down")
        )

    def _disturb(self, interference: Interference, pairs: Sequence[Sequence[Attenuation]]) -> None:
        """Let the stations of a channel disturb each other."""
        gains = [[from_db(self._antennas_db - pair.total_db) for pair in of_user] for of_user in pairs]
        powers = Powers(
            gains=np.array(gains),
            users_w=np.array([user.uplink.max_power_w for user in self.users]),
            station_w=watts(self._network.stations.tx_power_dbm),
            user_noise_w_per_hz=self._noise_w_per_hz(self._network.users.noise_figure_db),
            station_noise_w_per_hz=self._noise_w_per_hz(self._network.stations.noise_figure_db),
        )
        channels = interference.channels(len(self.stations))
        disturb(self.env, Uplink(powers), [station.uplink.medium for station in self.stations], channels)
        disturb(self.env, Downlink(powers), [station.downlink.medium for station in self.stations], channels)

    def _noise_w_per_hz(self, noise_figure_db: float) -> float:
        return watts(self._network.channel.noise_dbm_per_hz + noise_figure_db)

    def _medium(self, station: int, band: BandDescription, scheduler: Scheduler, *, spread: bool) -> Medium:
        attached = [user for user, pair in enumerate(self._attenuations) if pair.station == station]
        band.law.check(len(self._attenuations), attached)
        return Medium(self.env, band.bandwidth_mhz * 1e6, scheduler, attached, spread=spread)

    def _user(self, number: int) -> User:
        energy, presence = self._energy, Presence(self.env, self.journal, number)
        meter = Meter(self.env, energy.idle_power_w)
        self.journal.meters.append(meter)
        processor = Processor(
            self.env,
            self.journal,
            f"user{number}",
            "user",
            self._flops_per_s[number],
            slowdown=partial(self._slowdowns.draw, number),
            energy=energy.compute,
            meter=meter,
        )
        stations, users = self._network.stations, self._network.users
        station = self.stations[self._attenuations[number].station]
        user_w, station_w = watts(self._tx_power_dbm[number]), watts(stations.tx_power_dbm)
        uplink = Radio(
            self.env,
            number,
            self._link("up", number, user_w, stations.noise_figure_db),
            station.uplink.medium,
            user_w,
            "transmit",
            circuit_power_w=energy.circuit_power_w,
            amplifier_power_w=user_w / energy.amplifier_efficiency,
            meter=meter,
            presence=presence,
        )
        downlink = Radio(
            self.env,
            number,
            self._link("down", number, station_w, users.noise_figure_db),
            station.downlink.medium,
            station_w,
            "receive",
            circuit_power_w=energy.receive_power_w,
            amplifier_power_w=0.0,
            meter=meter,
            presence=presence,
        )
        return User(number, station, presence, processor, uplink, downlink)

    def _link(self, direction: str, user: int, transmit_w: float, noise_figure_db: float) -> Link:
        pair, channel = self._attenuations[user], self._network.channel
        received_w = transmit_w * from_db(self._antennas_db - pair.total_db)
        noise_w_per_hz = self._noise_w_per_hz(noise_figure_db)
        key = self.streams.key("fading", direction, user, pair.station)
        return Link(received_w / noise_w_per_hz, channel.fading.at(channel.carrier_ghz * 1e9), key, channel.rate)

    def _server_processor(self) -> Processor:
        servers = self._compute.servers
        servers.discipline.check(len(self.users))
        return Processor(
            self.env,
            self.journal,
            "server",
            "server",
            servers.flops_per_s,
            slots=servers.slots,
            discipline=servers.discipline,
            capacity=servers.capacity,
            energy=self._energy.server_compute,
        )
