"""Growth of the time of a run with the number of its users, who share one band.

Prints the processor time of the network alone, in which users compute and exchange messages with a server, and of one
round of dry runs of `sfl_v1` and `fedavg`, for 10 to 1000 users, and the slope of the logarithm of the time over that
of the number of users from 100 to 1000, which is 1 for linear growth. The time of a run with one user, for the start,
is subtracted from those of the dry runs.
"""

import tempfile
import time
from collections.abc import Callable
from math import log
from pathlib import Path

import simpy
import yaml

from netsim.description import ComputeDescription, EnergyDescription, NetworkDescription, UsersDescription
from netsim.journal import Journal
from netsim.network import Network
from netsim.nodes import ServerNode, UserNode
from netsim.process import Process
from netsim.streams import Streams
from netsim.trace import Trace
from scenarios import load, simulate

USERS = (10, 30, 100, 300, 1000)
MESSAGES = 6
"""Messages of each user in either direction."""
BITS, FLOPS = 3e4, 1e7


def main() -> None:
    print("users: seconds of processor time by the number of users, and slope of the growth from 100 to 1000 users")
    _report("network alone", exchange)
    for scheme in ("sfl_v1", "fedavg"):
        one_round(scheme, 1)  # warms up
        start_s = one_round(scheme, 1)
        _report(f"dry {scheme} beyond the start", lambda users, s=scheme, of=start_s: one_round(s, users) - of)


def _report(name: str, seconds: Callable[[int], float]) -> None:
    seconds(USERS[0])  # warms up
    times = {users: seconds(users) for users in USERS}
    slope = log(times[1000] / times[100]) / log(10)
    print(f"  {name:28s} {', '.join(f'{users}: {spent_s:.2f}' for users, spent_s in times.items())}; slope {slope:.2f}")


def exchange(users: int) -> float:
    """Seconds of processor time of a network whose users all compute and exchange messages with the server."""
    env = simpy.Environment()
    description = NetworkDescription(users=UsersDescription(count=users))
    journal = Journal(env, Trace(None))
    network = Network(env, Streams(1), journal, description, ComputeDescription(), EnergyDescription())
    for user in network.users:
        env.process(_exchange(user, network.server))
    begun = time.process_time()
    env.run()
    return time.process_time() - begun


def _exchange(user: UserNode, server: ServerNode) -> Process[None]:
    for _ in range(MESSAGES):
        yield from user.compute(FLOPS, "client_forward")
        yield from user.send(server, BITS, "activation")
        yield from server.send(user, BITS, "gradient")


def one_round(scheme: str, users: int) -> float:
    """Seconds of processor time of one round of a dry run of a scheme with five local steps."""
    settings = {
        "name": "users",
        "network": {"users": {"count": users}},
        "learning": {
            "executor": "dry",
            "data": "digits",
            "scheme": {"name": scheme, "local_steps": 5},
            "stop": {"rounds": 1},
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "users.yaml")
        file.write_text(yaml.safe_dump(settings))
        scenario = load(file)
    begun = time.process_time()
    simulate(scenario)
    return time.process_time() - begun
