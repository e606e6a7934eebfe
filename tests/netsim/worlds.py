"""Small networks whose every number can be worked out by hand."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import cos, inf, log2, pi, sin
from typing import Any

import pyarrow as pa
import simpy

from netsim.description import (
    BandDescription,
    ChannelDescription,
    ComputeDescription,
    DevicesDescription,
    EnergyDescription,
    NetworkDescription,
    RequestStream,
    ServersDescription,
    SharingDescription,
    StationsDescription,
    TrafficDescription,
    UsersDescription,
)
from netsim.energy import JoulesPerFlop
from netsim.geometry import Explicit
from netsim.journal import Journal
from netsim.network import Network
from netsim.nodes import UserNode
from netsim.radio.fading import NoFading
from netsim.radio.pathloss import FreeSpace
from netsim.radio.scheduling import FixedShares
from netsim.streams import Streams
from netsim.trace import Trace
from netsim.traffic import Arrival
from netsim.traffic.requests import Traffic
from netsim.values import ConstantPerUser

Process = Generator[simpy.Event, Any, Any]

ENERGY = EnergyDescription(
    amplifier_efficiency=0.5,
    circuit_power_w=0.1,
    receive_power_w=0.2,
    idle_power_w=ConstantPerUser(0.03),
    compute=JoulesPerFlop(1e-10),
)


@dataclass
class World:
    """A network, and its tables as lists of rows."""

    env: simpy.Environment
    network: Network
    journal: Journal

    def table(self, name: str) -> pa.Table:
        return self.journal.trace.frame(name)

    def rows(self, name: str) -> list[dict[str, Any]]:
        return self.table(name).to_pylist()

    def run(self, *processes: Process) -> None:
        """Run processes side by side to their ends."""
        self.env.run(self.env.all_of([self.env.process(process) for process in processes]))

    def at(self, instant_s: float, act: Callable[[], Any]) -> None:
        """Do something at an instant, before whatever else that instant has been given later."""

        def wait() -> Process:
            yield self.env.timeout(instant_s)
            act()

        self.env.process(wait())


def circle(users: int, radius_m: float = 100.0) -> Explicit:
    """Users all around, at one distance from the origin."""
    return Explicit(
        tuple((radius_m * cos(2 * pi * k / users), radius_m * sin(2 * pi * k / users)) for k in range(users))
    )


def flat_network(users: int) -> NetworkDescription:
    """Users alike at 100 m in free space, no fading, 1 MHz up and 2 MHz down in fixed shares, 5 m antennas."""
    return NetworkDescription(
        stations=StationsDescription(height_m=5.0, tx_power_dbm=30.0, noise_figure_db=0.0),
        users=UsersDescription(
            count=users, placement=circle(users), height_m=5.0, tx_power_dbm=ConstantPerUser(20.0), noise_figure_db=0.0
        ),
        channel=ChannelDescription(carrier_ghz=1.0, path_loss=FreeSpace(), fading=NoFading()),
        sharing=SharingDescription(
            uplink=BandDescription(1.0, FixedShares()), downlink=BandDescription(2.0, FixedShares())
        ),
    )


def flat_compute() -> ComputeDescription:
    """Devices of 1 GFLOP/s, a server of 100 GFLOP/s with one slot."""
    return ComputeDescription(DevicesDescription(ConstantPerUser(1e9)), ServersDescription(1e11))


def world(
    network: NetworkDescription | None = None,
    compute: ComputeDescription | None = None,
    energy: EnergyDescription = ENERGY,
    *,
    users: int = 2,
    seed: int = 7,
    trace: Trace | None = None,
) -> World:
    """A network at time zero; flat unless told otherwise."""
    env = simpy.Environment()
    journal = Journal(env, trace or Trace(None))
    built = Network(env, Streams(seed), journal, network or flat_network(users), compute or flat_compute(), energy)
    return World(env, built, journal)


def flat_rates_bps(users: int) -> tuple[float, float]:
    """Uplink and downlink rate of a user of `flat_network`, from Friis' formula and Shannon's."""
    gain = (299_792_458.0 / (4 * pi * 100.0 * 1e9)) ** 2
    noise_w_per_hz = 10 ** (-174 / 10) / 1000
    up_hz, down_hz = 1e6 / users, 2e6 / users
    up = up_hz * log2(1 + 0.1 * gain / (noise_w_per_hz * up_hz))
    down = down_hz * log2(1 + 1.0 * gain / (noise_w_per_hz * 2e6))
    return up, down


class At:
    """Arrivals of one user at given instants."""

    def __init__(self, *instants_s: float, user: int = 0) -> None:
        self.instants_s, self.user = instants_s, user

    def of_users(self, users: Sequence[int], count: int, streams: Streams, stream: str) -> list[Iterator[Arrival]]:
        return [map(Arrival, self.instants_s if user == self.user else ()) for user in users]


def ask(w: World, duration_s: float, **streams: RequestStream) -> list[dict[str, Any]]:
    """Run request streams, nothing else; the rows of `requests`."""
    w.run(Traffic(w.network, TrafficDescription(streams, duration_s)).run(None))
    return w.rows("requests")


def interrupted(w: World, work: Process, after_s: float) -> Process:
    """Interrupt some work, and swallow what it passes on."""

    def body() -> Process:
        try:
            yield from work
        except simpy.Interrupt:
            return

    process = w.env.process(body())
    yield process | w.env.timeout(after_s)
    if process.is_alive:
        process.interrupt()
        yield process


def listen(w: World, users: Sequence[UserNode], bits: float, deadline_s: float = inf) -> Process:
    """Broadcast to these without a rate; returns which got all, those left out that were interrupted or went away."""
    reached: dict[int, bool] = {}

    def body(user: UserNode, reception: Process) -> Process:
        with suppress(simpy.Interrupt):
            reached[user.number] = yield from reception

    receptions = w.network.server.broadcast_rateless(users, bits, "x", deadline_s)
    processes = [w.env.process(body(user, reception)) for user, reception in receptions.items()]
    try:
        yield w.env.all_of(processes)
    except simpy.Interrupt:
        alive = [process for process in processes if process.is_alive]
        for process in alive:
            process.interrupt()
        yield w.env.all_of(alive)
        raise
    return reached
