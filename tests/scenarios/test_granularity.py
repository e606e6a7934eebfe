"""What `netsim check` says of the granularity of a run, beside what such a run does."""

from collections.abc import Callable
from typing import Any

import pytest

from netsim.radio.flow.each import EachByItself
from netsim.radio.flow.medium import FlowMedium
from netsim.radio.flow.together import AllTogether
from netsim.radio.slot.medium import SlotMedium
from runs import TINY
from scenarios import load, simulate
from scenarios.granularity import granularity

INTERFERING = {
    "network.stations.placement": {"name": "hexagonal_grid", "rings": 1},
    "network.users.placement": {"name": "cells"},
    "network.interference": {"reuse": 1},
}
BANDS: list[tuple[int, str, str, dict[str, Any], str]] = [
    (16, "equal", "flow", {}, "itself"),
    (17, "equal", "flow", {}, "in a band"),
    (17, "fixed", "flow", {}, "itself"),
    (17, "fixed", "flow", INTERFERING, "in a channel"),
    (17, "equal", "slot", {}, "slot by slot"),
]


def counted(monkeypatch: pytest.MonkeyPatch, of: type, name: str) -> list[int]:
    calls: list[int] = []
    original: Callable[..., Any] = getattr(of, name)
    monkeypatch.setattr(of, name, lambda self, *given, **more: (calls.append(1), original(self, *given, **more))[1])
    return calls


@pytest.mark.parametrize(("users", "policy", "fidelity", "more", "said"), BANDS)
def test_a_run_is_as_fine_as_is_said(
    users: int, policy: str, fidelity: str, more: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All users send at about the same time; transmissions that join progress together are those of a many."""
    band = {"bandwidth_mhz": 1, "scheduler": policy, "fidelity": fidelity}
    scenario = load(
        TINY,
        {
            "network.users.count": users,
            "network.sharing": {"uplink": band, "downlink": band},
            "compute.stragglers": {"slowdown": "none"},
            "compute.devices.flops_per_s": 1e9,
            "learning.scheme": "fedavg",
            "learning.partition": "iid",
            "learning.executor": "dry",
            "learning.stop.rounds": 1,
            **more,
        },
    )
    words = granularity(scenario)
    assert words["uplink"] == words["downlink"]
    assert words["uplink"].endswith(said) or (said == "itself" and "all at once" not in words["uplink"])
    each, together = counted(monkeypatch, EachByItself, "join"), counted(monkeypatch, AllTogether, "join")
    flow, slot = counted(monkeypatch, FlowMedium, "begin"), counted(monkeypatch, SlotMedium, "begin")
    simulate(scenario)
    assert bool(slot) == (said == "slot by slot") == (not flow)
    assert bool(together) == said.startswith("in a")
    assert bool(each) == (said != "slot by slot")


@pytest.mark.parametrize(("users", "said"), [(10_000, "from the beginning"), (10_001, "part in a round")])
def test_many_users_exist_while_they_take_part(users: int, said: str) -> None:
    settings = {
        "network.users.count": users,
        "learning.scheme": "fedavg",
        "learning.partition": {"name": "shared", "samples": 20},
        "learning.participants": {"name": "random", "count": 10},
    }
    words = granularity(load(TINY, settings))
    assert words["users"].startswith(f"{users:,}, ")
    assert said in words["users"]


@pytest.mark.parametrize("executor", ["eager", "batched", "dry"])
def test_operations(executor: str) -> None:
    words = granularity(load(TINY, {"learning.executor": executor}))
    assert {"eager": "each by itself", "batched": "like operations", "dry": "shapes alone"}[executor] in words[
        "operations"
    ]
