"""The network: users and servers, built from a description."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Literal

import simpy

from netsim.backhaul import Backhaul
from netsim.battery import install_batteries
from netsim.budget import LinkBudget
from netsim.description import (
    BackhaulDescription,
    BandDescription,
    ComputeDescription,
    EnergyDescription,
    MobilityDescription,
    NetworkDescription,
    ServerDescription,
    SiteDescription,
)
from netsim.energy import Meter
from netsim.exogenous import ExogenousEvents
from netsim.faults import AlwaysAvailable, DevicePresence, SitePresence
from netsim.faults.causes import install_faults, install_site_faults
from netsim.journal import Journal
from netsim.lazy import Lazy
from netsim.motion import Motion
from netsim.nodes import ServerNode, UserNode
from netsim.processor import Processor, nominal
from netsim.radio.band import Band
from netsim.radio.device import Radio
from netsim.radio.interference import Downlink, Interference, Uplink, couple_interference
from netsim.slowdown import ListedSlowdowns, NoSlowdown, SlowdownLaw, Slowdowns
from netsim.station import Station
from netsim.storage import Storage
from netsim.streams import Streams
from netsim.tables import UserRow
from netsim.transfer import AirInterface


class Network:
    """The nodes of a run: users, stations, servers and sites. Their work takes simulated time and is recorded."""

    def __init__(
        self,
        env: simpy.Environment,
        streams: Streams,
        journal: Journal,
        network: NetworkDescription,
        compute: ComputeDescription,
        energy: EnergyDescription,
        *,
        lazy: bool = False,
    ) -> None:
        """Build the network of a scenario, with mobility, faults and batteries at work.

        Args:
            env: the environment of the run.
            streams: random numbers of the run.
            journal: receives the rows of all tables.
            network: the section `network` of the scenario.
            compute: the section `compute`.
            energy: the section `energy`.
            lazy: True makes a user when it is first needed in a round, and drops it when the round is over, with its
                energy meter; nothing in the network may then concern all users, such as faults, batteries, mobility,
                interference, or a fixed part of a band for each.

        Raises:
            ValueError: the description contradicts itself; the message is one sentence.
        """
        self.env, self.streams, self.journal = env, streams, journal
        self._network, self._compute, self._energy = network, compute, energy
        count = network.users.count
        self._lazy, self._recorded = lazy, set[int]()
        self._present = range(0 if lazy else count)  # numbers of the users that exist from the beginning
        self.budget = LinkBudget(network, streams, lazy=lazy)
        self._flops_per_s = compute.devices.flops_per_s.of_users(count, streams, "device speed")
        self._idle_w = energy.idle_power_w.of_users(count, streams, "idle power")
        bandwidths = compute.devices.memory_bandwidth_bytes_per_s
        self._bandwidths = None if bandwidths is None else bandwidths.of_users(count, streams, "memory bandwidth")
        for user in self._present:
            self._check(user)
        memory = compute.devices.memory_bytes
        self.memory_bytes = None if memory is None else memory.of_users(count, streams, "device memory")
        self._drops = compute.devices.on_out_of_memory == "drop"
        """Memory of each user's device in bytes; None is no limit."""
        law = compute.stragglers.slowdown
        law.check(count)
        self._slowdowns = _slowdowns(law, compute.stragglers.redraw, streams)
        sharing = network.sharing
        self._schedulers = {"up": sharing.uplink.scheduler.scheduler(), "down": sharing.downlink.scheduler.scheduler()}
        self.stations = [self._station(number) for number in range(self.budget.stations)]
        self.users = Lazy(count, self._user, now=not lazy)
        """All users by number; lazy ones exist while they take part in a round."""
        presences, exogenous = [user.presence for user in self.users.made.values()], ExogenousEvents(env)
        install_faults(network.faults, presences, exogenous, streams)
        if energy.battery is not None:
            install_batteries(energy.battery, presences, exogenous, streams)
        self.server = self._server("server", compute.servers, compute.servers.station)
        self.edge_servers = self._edge_servers()
        self.sites = self._sites(compute.sites, exogenous)
        if network.interference is not None:
            self._couple_interference(network.interference)
        if network.handover is not None and network.mobility is None:
            raise ValueError("handover: users that stand still are never handed over; give network.mobility as well")
        self.motion = self._motion(network.mobility) if network.mobility is not None else None
        if self.motion is not None:
            exogenous.follow(self.motion.steps())
            motion = self.motion
            exogenous.awaited.append(lambda: motion.awaited)

    def _check(self, user: int) -> None:
        """Check the numbers of a user's device. Raises ValueError if one is out of range."""
        speed, power_w = self._flops_per_s[user], self._idle_w[user]
        if speed <= 0:
            raise ValueError(f"the device speed of user {user} is {speed:g} FLOP/s; it must be positive")
        self._energy.compute.of_user(user).energy_j(1.0, speed)  # raises where a device cannot be so fast
        if not 0 <= power_w < inf:
            raise ValueError(f"the idle power of user {user} is {power_w:g} W; it must not be negative")
        if self._bandwidths is not None and not self._bandwidths[user] > 0:
            bandwidth = self._bandwidths[user]
            raise ValueError(f"the memory bandwidth of user {user} is {bandwidth:g} byte/s; it must be positive")

    def drop_users(self) -> None:
        """Drop all users, who are lazy and not at work, with their energy meters."""
        self.users.forget()
        self.budget.forget()
        self.journal.meters.clear()

    def record_users(self) -> None:
        """Write the table `users` of all users that exist and are not in it; call it when their `samples` are set."""
        users = sorted(self.users.made.values(), key=lambda user: user.number)
        for user in [user for user in users if user.number not in self._recorded]:
            self._recorded.add(user.number)
            attenuation = self.budget.attenuation(user.number, user.station.number)
            x_m, y_m = self.budget.places[user.number]
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
                tx_power_dbm=self.budget.tx_power_dbm(user.number),
                coupling_loss_db=self.budget.coupling_loss_db(user.number, attenuation.station),
            )
            self.journal.trace.add("users", *row)
        if self.motion is not None:
            self.motion.record(range(len(self.users)))

    def record_end(self) -> None:
        """Write rows of outages that last beyond the end of the run."""
        for user in self.users.made.values():
            user.presence.record()
        for site in self.sites.values():
            if site.own_presence is not None:
                site.own_presence.record()

    @property
    def gone(self) -> int:
        """Number of devices that will never return."""
        return sum(user.gone for user in self.users.made.values())

    def _station(self, number: int) -> Station:
        node, sharing = f"station{number}", self._network.sharing
        up = self._band(number, sharing.uplink, "up")
        down = self._band(number, sharing.downlink, "down")
        station = Station(
            number, AirInterface(self.journal, up, node, "up"), AirInterface(self.journal, down, node, "down")
        )
        if (backhaul := self._network.backhaul) is not None:
            backhaul.discipline.check(self._network.users.count)
            station.to_core = Backhaul(self.env, self.journal, "core", backhaul)
            station.from_core = Backhaul(self.env, self.journal, node, backhaul)
        return station

    def _motion(self, mobility: MobilityDescription) -> Motion:
        handover = self._network.handover
        return Motion(self.env, self.journal, self.budget, self.users, self.stations, mobility, handover)

    def _couple_interference(self, interference: Interference) -> None:
        """Couple the stations that share a channel, so that they interfere, where rates are not recorded."""
        channels, powers = interference.channels(len(self.stations)), self.budget.powers
        if self._network.channel.uplink_recording is None:
            couple_interference(self.env, Uplink(powers), [each.uplink.band for each in self.stations], channels)
        if self._network.channel.downlink_recording is None:
            couple_interference(self.env, Downlink(powers), [each.downlink.band for each in self.stations], channels)

    def _band(self, station: int, band: BandDescription, direction: Literal["up", "down"]) -> Band:
        count = self._network.users.count
        attached = [user for user in self._present if self.budget.serving[user] == station]
        band.scheduler.check(count, attached if self._network.handover is None else range(count))
        return band.fidelity.band(
            self.env,
            band.bandwidth_hz,
            band.scheduler,
            self._schedulers[direction],
            attached,
            self._network.channel.rate,
            self.streams.key("block errors", direction, station),
            spread=direction == "down",
        )

    def _user(self, number: int) -> UserNode:
        energy = self._energy
        if self._lazy:
            self._check(number)
        meter, slowdowns = Meter(self.env, self._idle_w[number], energy.tail), self._slowdowns
        presence = DevicePresence(self.env, self.journal, number, meter)
        self.journal.meters[number] = meter
        processor = Processor(
            self.env,
            self.journal,
            f"user{number}",
            "user",
            self._flops_per_s[number],
            memory_bandwidth_bytes_per_s=self._bandwidths[number] if self._bandwidths else None,
            slowdown=nominal if slowdowns is None else partial(slowdowns.draw, number),
            worked=partial(slowdowns.worked, number) if slowdowns is not None and slowdowns.stateful else None,
            energy=energy.compute.of_user(number),
            meter=meter,
        )
        station, user_w = self.stations[self.budget.serving[number]], self.budget.power_w("up", number)
        uplink = Radio(
            self.env,
            number,
            self.budget.link("up", number, station.number),
            station.uplink.band,
            station.uplink.node,
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
            self.budget.link("down", number, station.number),
            station.downlink.band,
            station.downlink.node,
            self.budget.power_w("down", number),
            "receive",
            circuit_power_w=energy.receive_power_w,
            amplifier_power_w=0.0,
            meter=meter,
            presence=presence,
        )
        memory_bytes = None if self.memory_bytes is None else self.memory_bytes[number]
        user = UserNode(number, station, presence, processor, uplink, downlink, memory_bytes, self._drops)
        if self._network.mobility is not None and self._network.users.power_control is not None:
            uplink.control_power = partial(self._control_power, user)
        return user

    def _control_power(self, user: UserNode) -> None:
        """Set the user's transmit power by its present coupling loss; called when a transfer begins."""
        self.budget.control_power(user.number)
        power_w = self.budget.power_w("up", user.number)
        user.uplink.max_power_w, user.uplink.amplifier_power_w = power_w, power_w / self._energy.amplifier_efficiency
        self.budget.update_link(user.uplink.link, "up", user.number)

    def server_of(self, user: UserNode) -> ServerNode:
        """Return the edge server at the user's present station, or the central server if the station has none."""
        return self.edge_servers.get(user.station.number, self.server)

    def _server(self, name: str, server: ServerDescription, station: int | None, delay_s: float = 0.0) -> ServerNode:
        if station is not None and station >= len(self.stations):
            raise ValueError(f"{name} stands at station {station}; there are {len(self.stations)}, from 0")
        server.discipline.check(len(self.users))
        slowdowns = self._server_slowdowns(name, server)
        processor = Processor(
            self.env,
            self.journal,
            name,
            "server",
            server.flops_per_s,
            memory_bandwidth_bytes_per_s=server.memory_bandwidth_bytes_per_s,
            slots=server.slots,
            discipline=server.discipline,
            capacity=server.capacity,
            slowdown=nominal if slowdowns is None else lambda _: slowdowns.draw(0, 0),
            worked=partial(slowdowns.worked, 0) if slowdowns is not None and slowdowns.stateful else None,
            energy=self._energy.server_compute,
        )
        place = None if station is None else self.stations[station]
        built = ServerNode(self.env, processor, Storage(name, server.storage_bytes, server.eviction), place)
        if delay_s > 0:
            line = BackhaulDescription(inf, delay_s)
            built.to_core = Backhaul(self.env, self.journal, "core", line)
            built.from_core = Backhaul(self.env, self.journal, name, line)
        return built

    def _server_slowdowns(self, name: str, server: ServerDescription) -> Slowdowns | None:
        """The slowdowns of a server, those of device 0 of random numbers of its own; None if it has none."""
        law = server.slowdown
        if isinstance(law, ListedSlowdowns):
            raise ValueError(f"slowdown: a list is for users' devices; give {name} another flops_per_s")
        slowdowns = _slowdowns(law, "job", self.streams.of(name))
        if slowdowns is not None and slowdowns.stateful and server.slots > 1:
            raise ValueError(f"slowdown: {name} has {server.slots} slots; throttling needs a server with one")
        return slowdowns

    def _edge_servers(self) -> dict[int, ServerNode]:
        """The edge servers by the number of their station."""
        edge = self._compute.edge_servers
        if edge is None:
            return {}
        places = range(len(self.stations)) if edge.stations is None else edge.stations
        return {station: self._server(f"server{station}", edge, station) for station in places}

    def _sites(self, described: Mapping[str, SiteDescription], exogenous: ExogenousEvents) -> dict[str, ServerNode]:
        """All sites by name: the servers of the scenario, and one on each device that exists from the beginning."""
        sites = {server.name: server for server in (self.server, *self.edge_servers.values())}
        for name, site in described.items():
            sites[name] = built = self._server(name, site, site.station, site.delay_s)
            if site.outages or site.availability != AlwaysAvailable():
                built.own_presence = SitePresence(self.env, self.journal, name)
                install_site_faults(site.availability, site.outages, built.own_presence, exogenous, self.streams)
        devices, count = self._compute.devices, len(self.users)
        storage = devices.storage_bytes
        spaces = None if storage is None else storage.of_users(count, self.streams, "device storage")
        for number in self._present:
            space_bytes = None if spaces is None else spaces[number]
            if space_bytes is not None and space_bytes < 0:
                raise ValueError(f"the storage of user {number} is {space_bytes:g} bytes; it must not be negative")
            user = self.users[number]
            name = user.processor.node
            sites[name] = ServerNode(self.env, user.processor, Storage(name, space_bytes, devices.eviction), user)
        return sites


def _slowdowns(law: SlowdownLaw, redraw: Literal["round", "job"], streams: Streams) -> Slowdowns | None:
    """The slowdowns of devices under a law; None without slowdown, for which nothing needs to be drawn."""
    return None if isinstance(law, NoSlowdown) else Slowdowns(law, redraw, streams)
