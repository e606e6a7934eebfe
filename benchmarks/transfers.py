"""Transfers a wall second through the simulated radio, alone: users that send one payload after another.

Prints, for each sharing law and number of users, transfers per second and their cost in SimPy timeouts of the same run.
"""

import simpy

from benchmarks.timing import best_s
from netsim.description import (
    BandDescription,
    ComputeDescription,
    EnergyDescription,
    NetworkDescription,
    SharingDescription,
    UsersDescription,
)
from netsim.journal import Journal
from netsim.network import Network
from netsim.nodes import Server, User
from netsim.processor import Timed
from netsim.radio.sharing import EqualShares, FixedShares, SharingLaw
from netsim.streams import Streams
from netsim.trace import Trace

TRANSFERS = 2400
BITS = 200_000.0


def main() -> None:
    print(
        f"transfers: {TRANSFERS} uplinks of {BITS:.0f} bits, Rayleigh blocks; per wall second (cost in bare timeouts)"
    )
    timeout_s = best_s({"timeouts": timeouts})["timeouts"] / 100_000
    for users in (12, 100):
        laws: dict[str, SharingLaw] = {"equal": EqualShares(), "fixed": FixedShares()}
        times = best_s({name: lambda law=law, users=users: send_all(law, users) for name, law in laws.items()})
        each = (f"{n} {TRANSFERS / t:.0f}/s ({t / TRANSFERS / timeout_s:.0f})" for n, t in times.items())
        print(f"  {users:4d} users: {', '.join(each)}")


def timeouts() -> None:
    """What the event engine itself takes."""
    env = simpy.Environment()

    def tick() -> Timed:
        for _ in range(100_000):
            yield env.timeout(1.0)

    env.process(tick())
    env.run()


def send_all(law: SharingLaw, users: int) -> None:
    """All users send side by side, each its part of the transfers."""
    env = simpy.Environment()
    band = BandDescription(law=law)
    description = NetworkDescription(
        users=UsersDescription(count=users), sharing=SharingDescription(uplink=band, downlink=band)
    )
    journal = Journal(env, Trace(None))
    network = Network(env, Streams(1), journal, description, ComputeDescription(), EnergyDescription())
    for user in network.users:
        env.process(sender(user, network.server, TRANSFERS // users))
    env.run()


def sender(user: User, server: Server, count: int) -> Timed:
    for _ in range(count):
        yield from user.send(server, BITS, "activation")
