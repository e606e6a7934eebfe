"""The work of a transfer in calls of Python functions, which do not depend on the machine or on its load."""

import pytest
import simpy

from benchmarks.transfers import calls_per_transfer
from netsim.integral import Integral
from netsim.radio.fading import Rayleigh
from netsim.radio.flow.transmission import FlowTransmission
from netsim.radio.link import RadioLink
from netsim.radio.rate import Shannon
from netsim.radio.scheduling import SchedulingGrant
from netsim.streams import Streams


@pytest.mark.parametrize(
    ("case", "users", "limit"),
    [
        ("flow, fixed", 40, 150),
        ("flow, equal", 6, 160),
        ("flow, equal", 40, 185),
        ("flow, proportional fair", 6, 320),
        ("slot, equal, transport blocks", 6, 560),
    ],
)
def test_a_transfer_takes_a_limited_number_of_calls(case: str, users: int, limit: int) -> None:
    assert calls_per_transfer(case, users) <= limit


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
