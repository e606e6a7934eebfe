"""Growth of the processor time of a run with users, rounds, stations and the size of messages.

For each of them, prints the seconds of some runs and the slope of the logarithm of the time over that of the number,
between the last two numbers that are ten times apart or more: 1 is linear growth, 0 none. Users share one band; of
stations each has ten users; sizes are those of a model that is sent as one message. The time of the smallest run, for
the start, is subtracted from those of dry runs.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import log
from pathlib import Path
from typing import Any

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
ROUNDS = (3, 10, 30, 100, 300)
RINGS = (0, 1, 2, 3, 4)
"""Rings of stations around the first one: 1, 7, 19, 37 and 61 stations."""
WIDTHS = (10, 100, 1000, 10_000)
"""Hidden units of a perceptron on 64 pixels with ten classes."""
MESSAGES = 6
"""Messages of each user in either direction."""
BITS, FLOPS = 3e4, 1e7


def main() -> None:
    print("growth: seconds of processor time, and slope over the last factor of ten")
    _report("users, network alone", USERS, exchange)
    for scheme in ("sfl_v1", "fedavg"):
        _report(f"users, dry {scheme}", USERS, partial(one_round, scheme), one_round(scheme, 1))
    _report("rounds, dry sfl_v1", ROUNDS, lambda rounds: _dry_s("sfl_v1", rounds=rounds), _dry_s("sfl_v1"))
    stations = {1 + 3 * rings * (rings + 1): rings for rings in RINGS}
    _report("stations, dry sfl_v1", tuple(stations), lambda count: _of_stations(count, stations[count], {}))
    interference = {"interference": {"reuse": 1}}
    _report("interfering stations", tuple(stations), lambda count: _of_stations(count, stations[count], interference))
    _report("size, dry fedavg", WIDTHS, lambda width: _dry_s("fedavg", model={"name": "mlp", "hidden": [width]}))


def _report(name: str, numbers: Sequence[int], seconds: Callable[[int], float], start_s: float = 0.0) -> None:
    seconds(numbers[0])  # warms up
    times = {number: seconds(number) - start_s for number in numbers}
    last = numbers[-1]
    before = max(number for number in numbers if 10 * number <= last)
    slope = log(times[last] / times[before]) / log(last / before)
    print(f"  {name:22s} {', '.join(f'{number}: {spent_s:.2f}' for number, spent_s in times.items())}; {slope:.2f}")


def exchange(users: int) -> float:
    """Seconds of processor time of a network whose users all compute and exchange messages with the server."""
    env = simpy.Environment()
    exchanging(env, Trace(None), users)
    begun = time.process_time()
    env.run()
    return time.process_time() - begun


def exchanging(env: simpy.Environment, trace: Trace, users: int) -> None:
    """Make a network whose users all compute and exchange messages with the server."""
    description = NetworkDescription(users=UsersDescription(count=users))
    journal = Journal(env, trace)
    network = Network(env, Streams(1), journal, description, ComputeDescription(), EnergyDescription())
    for user in network.users:
        env.process(_exchange(user, network.server))


def _exchange(user: UserNode, server: ServerNode) -> Process[None]:
    for _ in range(MESSAGES):
        yield from user.compute(FLOPS, "client_forward")
        yield from user.send(server, BITS, "activation")
        yield from server.send(user, BITS, "gradient")


def one_round(scheme: str, users: int) -> float:
    """Seconds of processor time of one round of a dry run of a scheme with five local steps."""
    return _dry_s(scheme, network={"users": {"count": users}})


def _of_stations(count: int, rings: int, more: Mapping[str, Any]) -> float:
    """`_dry_s` of a hexagonal grid of stations with ten users each."""
    grid = {"name": "hexagonal_grid", "rings": rings}
    users = {"count": 10 * count, "placement": {"name": "cells", "radius_m": 100}}
    return _dry_s("sfl_v1", network={"stations": {"placement": grid}, "users": users, **more})


def _dry_s(scheme: str, rounds: int = 1, network: Mapping[str, Any] | None = None, **learning: Any) -> float:
    """Seconds of processor time of a dry run with five local steps in each round, of 10 users by default."""
    settings = {
        "name": "growth",
        "network": network or {"users": {"count": 10}},
        "learning": {
            "executor": "dry",
            "data": "digits",
            "scheme": {"name": scheme, "local_steps": 5},
            "stop": {"rounds": rounds},
            **learning,
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "growth.yaml")
        file.write_text(yaml.safe_dump(settings))
        scenario = load(file)
    begun = time.process_time()
    simulate(scenario)
    return time.process_time() - begun
