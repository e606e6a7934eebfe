"""The work of a transfer and of a job in calls of Python functions, which depend on no machine and on no load."""

import pytest
import simpy

from benchmarks.timing import python_calls
from benchmarks.transfers import calls_per_transfer
from netsim.description import ComputeDescription, EnergyDescription, NetworkDescription, UsersDescription
from netsim.integral import Integral
from netsim.journal import Journal
from netsim.network import Network
from netsim.nodes import UserNode
from netsim.process import Process
from netsim.radio.fading import Rayleigh
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.link import RadioLink
from netsim.radio.rate import Shannon
from netsim.radio.scheduling import SchedulingGrant
from netsim.streams import Streams
from netsim.trace import Trace


@pytest.mark.parametrize(
    ("case", "users", "limit"),
    [
        ("flow, fixed", 40, 150),
        ("flow, equal", 6, 160),
        ("flow, equal", 40, 175),
        ("flow, proportional fair", 6, 300),
        ("slot, equal, transport blocks", 6, 560),
    ],
)
def test_a_transfer_takes_a_limited_number_of_calls(case: str, users: int, limit: int) -> None:
    assert calls_per_transfer(case, users) <= limit


@pytest.mark.parametrize(("server", "limit"), [(False, 46), (True, 47)])
def test_a_job_takes_a_limited_number_of_calls(server: bool, limit: int) -> None:
    """Nothing is drawn for the slowdown of a job where there is none."""
    few, many = (python_calls(lambda each=each: do_all(server, each)) for each in (10, 110))  # type: ignore[misc]
    assert (many - few) / 200 <= limit


def do_all(server: bool, each: int) -> None:
    """Do so many jobs for each of two users, side by side, on its device or on the server."""
    env = simpy.Environment()
    described = NetworkDescription(users=UsersDescription(count=2)), ComputeDescription(), EnergyDescription()
    network = Network(env, Streams(1), Journal(env, Trace(None)), *described)

    def jobs(user: UserNode) -> Process[None]:
        for _ in range(each):
            yield from network.server.compute(1e7, "work", 0, user.number) if server else user.compute(1e7, "work")

    for user in network.users:
        env.process(jobs(user))
    env.run()


@pytest.mark.parametrize(("spread", "integrals"), [(False, 3), (True, 2)])
def test_what_was_integrated_up_to_an_instant_is_not_integrated_again(
    spread: bool, integrals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power is, and the rate where the bandwidth over which the power is spread has not changed."""
    calls, until = [], Integral.until
    link = RadioLink(1e7, Rayleigh(1.0), Streams(1).key("link"), Shannon())
    transmission = FlowTransmission(simpy.Environment(), link, (0,), 1e9, 1e6, spread=spread)
    transmission.rate(0.0, SchedulingGrant(0.5))
    monkeypatch.setattr(Integral, "until", lambda self, *of: (calls.append(of), until(self, *of))[1])
    transmission.advance(0.1)
    transmission.rate(0.1, SchedulingGrant(0.25))
    assert len(calls) == integrals
