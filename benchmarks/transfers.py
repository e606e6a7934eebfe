"""Throughput of the simulated radio alone, with users that send one payload after another.

Prints, for each fidelity, scheduling policy and number of users, the simulated transfers per second of wall time, the
wall time of one transfer in units of a SimPy timeout, and its calls of Python functions.
"""

import simpy

from benchmarks.timing import best_s, python_calls
from netsim.description import (
    BandDescription,
    ChannelDescription,
    ComputeDescription,
    EnergyDescription,
    NetworkDescription,
    SharingDescription,
    UsersDescription,
)
from netsim.journal import Journal
from netsim.network import Network
from netsim.nodes import ServerNode, UserNode
from netsim.process import Process
from netsim.radio.fidelity import Fidelity, Flow, Slots
from netsim.radio.rate import AdaptiveModulation, RateLaw, Shannon
from netsim.radio.scheduling import EqualShares, FixedShares, ProportionalFair, RoundRobin, SchedulingPolicy
from netsim.streams import Streams
from netsim.trace import Trace

TRANSFERS, IN_SLOTS = 2400, 240
"""Number of transfers with fluid flow, and slot by slot."""
COUNTED = 10
"""Number of transfers of each user whose calls are counted."""
BITS = 200_000.0
CASES: dict[str, tuple[SchedulingPolicy, Fidelity, RateLaw]] = {
    "flow, equal": (EqualShares(), Flow(), Shannon()),
    "flow, fixed": (FixedShares(), Flow(), Shannon()),
    "flow, proportional fair": (ProportionalFair(), Flow(), Shannon()),
    "slot, equal": (EqualShares(), Slots(), Shannon()),
    "slot, round robin": (RoundRobin(), Slots(), Shannon()),
    "slot, proportional fair": (ProportionalFair(), Slots(), Shannon()),
    "slot, equal, transport blocks": (EqualShares(), Slots(), AdaptiveModulation()),
}


def main() -> None:
    print(f"transfers: uplinks of {BITS:.0f} bits, Rayleigh blocks; per wall second (cost in bare timeouts, and calls)")
    timeout_s = best_s({"timeouts": timeouts})["timeouts"] / 100_000
    for users in (12, 100):
        runs = {
            name: lambda case=case, users=users: send_all(*case, users, each(case[1], users))
            for name, case in CASES.items()
        }
        for name, wall_s in best_s(runs).items():
            each_s = wall_s / users / each(CASES[name][1], users)
            costs = f"{each_s / timeout_s:.0f}, {calls_per_transfer(name, users):.0f}"
            print(f"  {users:4d} users, {name:30s} {1 / each_s:7.0f}/s ({costs})")


def each(fidelity: Fidelity, users: int) -> int:
    """Number of transfers of each user in a case."""
    return (TRANSFERS if isinstance(fidelity, Flow) else IN_SLOTS) // users


def calls_per_transfer(name: str, users: int) -> float:
    """Calls of Python functions for one more transfer in the case of this name."""
    scheduler, fidelity, rate = CASES[name]
    _, few, many = (  # the first one imports what is imported late
        python_calls(lambda each=each: send_all(scheduler, fidelity, rate, users, each))  # type: ignore[misc]
        for each in (1, COUNTED, 2 * COUNTED)
    )
    return (many - few) / (COUNTED * users)


def timeouts() -> None:
    """Run 100,000 timeouts of the event engine alone."""
    env = simpy.Environment()

    def tick() -> Process[None]:
        for _ in range(100_000):
            yield env.timeout(1.0)

    env.process(tick())
    env.run()


def send_all(scheduler: SchedulingPolicy, fidelity: Fidelity, rate: RateLaw, users: int, each: int) -> None:
    """Simulate all transfers of a case; all users send simultaneously, `each` so many."""
    env = simpy.Environment()
    band = BandDescription(scheduler=scheduler, fidelity=fidelity)
    description = NetworkDescription(
        users=UsersDescription(count=users),
        channel=ChannelDescription(rate=rate),
        sharing=SharingDescription(uplink=band, downlink=band),
    )
    journal = Journal(env, Trace(None))
    network = Network(env, Streams(1), journal, description, ComputeDescription(), EnergyDescription())
    for user in network.users:
        env.process(sender(user, network.server, each))
    env.run()


def sender(user: UserNode, server: ServerNode, count: int) -> Process[None]:
    for _ in range(count):
        yield from user.send(server, BITS, "activation")
