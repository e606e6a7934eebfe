"""examples/cached_experts.py: an edge server that caches experts hits as often as the sequence of requests allows."""

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import scenarios
from learning.models import MODELS
from learning.protocols.expert_layer import ExpertLayer
from learning.schemes import SCHEMES
from netsim.storage import Belady, Eviction, Lfu, LfuAdmission, Lru, NoEviction, replay
from runs import frame
from scenarios import load, simulate
from scenarios.errors import FieldError
from scenarios.run import Result

EXAMPLE = Path(__file__).parents[1] / "examples" / "cached_experts.py"
EXPERTS, PLACES, EXPERT_BITS = 16, 4, 1320 * 8


@pytest.fixture(scope="module", autouse=True)
def cached_experts() -> Iterator[dict[str, Any]]:
    """The names of the example, whose model and scheme are registered for these tests."""
    yield runpy.run_path(str(EXAMPLE))
    del MODELS["mixture"], SCHEMES["cached_experts"]


def ran(**changes: Any) -> Result:
    """The example, shorter, with a backhaul so fast that an expert is there before the call that missed it is over."""
    settings = {"network.backhaul.rate_bps": 1e12, "learning.stop.rounds": 4, "learning.batch_size": 30}
    settings |= {name.replace("__", "."): value for name, value in changes.items()}
    return simulate(load(EXAMPLE.with_suffix(".yaml"), settings))


def calls(result: Result) -> pd.DataFrame:
    return frame(result, "expert_calls").sort_values("start_s", kind="stable")


def fetches(result: Result) -> pd.DataFrame:
    """Messages with the weights of experts; each crosses two lines, that of the cloud and that of the station."""
    return frame(result, "transfers").query("kind == 'expert'")


@pytest.mark.parametrize(
    ("eviction", "policy"),
    [
        ({"name": "none"}, NoEviction()),
        ({"name": "lru"}, Lru()),
        ({"name": "lfu", "half_life_requests": 20}, Lfu(20)),
        ({"name": "lfu_admission"}, LfuAdmission()),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_a_single_user_hits_as_in_the_replay_of_its_requests(eviction: dict[str, Any], policy: Eviction) -> None:
    """Token by token; and no policy has more hits than Belady's."""
    result = ran(network__users__count=1, compute__sites__edge__eviction=eviction, learning__scheme__routing__reuse=0.5)
    rows, sizes_bytes = calls(result), dict.fromkeys(range(EXPERTS), EXPERT_BITS // 8)
    requests, capacity_bytes = rows.expert.tolist(), PLACES * EXPERT_BITS // 8
    assert len(requests) == 4 * 30
    assert rows.hit.tolist() == replay(requests, sizes_bytes, capacity_bytes, policy)
    assert rows.hit.sum() <= sum(replay(requests, sizes_bytes, capacity_bytes, Belady(tuple(requests))))
    assert ((rows.node == "edge") == rows.hit).all()


def test_each_miss_of_lru_fetches_the_expert_once() -> None:
    result = ran(network__users__count=1)
    assert fetches(result).bits.sum() == 2 * EXPERT_BITS * (~calls(result).hit).sum()


def test_an_expert_that_is_on_the_way_is_not_fetched_again() -> None:
    """All tokens of all users go to expert 0; it arrives over a slow line after the first token of each."""
    result = ran(network__backhaul__rate_bps=1e5, learning__scheme__routing={"name": "zipf", "exponent": 100})
    assert len(fetches(result)) == 2
    assert (~calls(result).hit).sum() == 3


def test_which_policy_is_best_depends_on_temporal_locality(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python examples/cached_experts.py`, but for the number of rounds."""
    read = scenarios.load
    monkeypatch.setattr(scenarios, "load", lambda path, changes: read(path, {**changes, "learning.stop.rounds": 5}))
    del MODELS["mixture"], SCHEMES["cached_experts"]
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    hits = {(line[1].rstrip(","), line[2].rstrip(":")): float(line[3].rstrip("%")) for line in lines}
    assert hits["0.0", "lru"] < hits["0.0", "lfu"] < hits["0.0", "lfu_admission"]
    assert hits["0.9", "lru"] > hits["0.9", "lfu"] > hits["0.9", "lfu_admission"]


def test_a_cache_on_a_device_that_leaves_stores_nothing_and_the_run_goes_on() -> None:
    setting = {"compute.devices.storage_bytes": 5280, "compute.devices.eviction": "lru"}
    steady = ran(learning__scheme__cache="user0", learning__stop__rounds=1, **setting)
    first = fetches(steady).query("direction == 'down'").iloc[0]
    absence = {"user": 0, "from_s": float(first.start_s + first.end_s) / 2, "until_s": float(first.end_s) + 1}
    result = ran(learning__scheme__cache="user0", network__faults__outages=[absence], **setting)
    assert result.status == "complete"
    assert fetches(result).lost.any()
    assert calls(result).query("round > 0").hit.any()


def test_cached_experts_are_not_trained(cached_experts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ExpertLayer] = []
    monkeypatch.setattr(ExpertLayer, "route", lambda layer, *_: made.append(layer) or layer.step([]))
    with pytest.raises(Exception, match="experts that a cache may hold cannot be trained: its copies would keep the"):
        ran()


@pytest.mark.parametrize(
    ("changes", "missing"), [({"learning__scheme__cache": "basement"}, "basement"), ({"compute__sites": {}}, "edge")]
)
def test_a_site_that_the_scenario_lacks_is_named(changes: dict[str, Any], missing: str) -> None:
    with pytest.raises(
        FieldError, match=rf"^learning\.scheme: experts are at the sites {missing} and cloud; give both"
    ):
        ran(**changes)
