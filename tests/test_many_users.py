"""Users that exist only while they take part in a round. Oracle: the same run with all users from the beginning."""

from typing import Any

import numpy as np
import pytest

from benchmarks.growth import one_round
from benchmarks.timing import python_calls
from learning.data.partition import Shared
from learning.participation import RandomParticipation, RoundRobinParticipation
from learning.schemes import SCHEMES
from netsim.lazy import Each, Lazy, drawn
from netsim.streams import Streams
from runs import TINY
from scenarios import ScenarioError, load, many_users, simulate
from scenarios.run import Result

MANY: dict[str, Any] = {
    "network.users.count": 7,
    "network.users.power_control": {},
    "network.channel.buildings": {},
    "network.stations.placement": [[0, 0], [200, 0]],
    "compute.edge_servers": {"flops_per_s": 1e9},
    "learning.partition": {"name": "shared", "samples": 20, "alpha": 0.5},
    "learning.scheme": {"name": "fedavg"},
    "learning.participants": {"name": "round_robin", "count": 3},
    "learning.stop.rounds": 4,
}


def rows(result: Result, table: str) -> Any:
    return result.table(table).to_pandas()


@pytest.mark.parametrize(
    ("scheme", "executor"), [("fedavg", "batched"), ("fedprox", "dry"), ("sfl_v1", "batched"), ("sfl_v2", "dry")]
)
def test_users_that_come_and_go_do_what_they_do_in_a_run_with_all(
    scheme: str, executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"learning.scheme.name": scheme, "learning.executor": executor}
    nearest = {"learning.servers": "nearest" if SCHEMES[scheme].hierarchical else "central"}
    scenario = load(TINY, {**MANY, **settings, **nearest})
    whole = simulate(scenario)
    monkeypatch.setattr(many_users, "AT_ONCE", 3)
    some = simulate(scenario)
    same = ("transfers", "computations", "evaluations", "critical_path", "users")
    assert {table: some.tables[table] for table in same} == {table: whole.tables[table] for table in same}
    assert rows(some, "rounds").drop(columns="energy_j").equals(rows(whole, "rounds").drop(columns="energy_j"))
    energy, of_all = rows(some, "energy"), rows(whole, "energy")
    assert len(energy) == 4 * 3
    assert energy.merge(of_all, how="inner").equals(energy)


def test_a_billion_users_take_no_more_than_those_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0

    class Counted(Lazy[Any]):
        def __getitem__(self, number: int) -> Any:  # type: ignore[override]
            nonlocal most
            item = super().__getitem__(number)
            most = max(most, len(self.made))
            return item

    for module in ("scenarios.build", "netsim.network", "netsim.budget", "netsim.coupling"):
        monkeypatch.setattr(f"{module}.Lazy", Counted)
    settings = {"network.users.count": 10**9, "learning.participants": {"name": "random", "count": 3}}
    result = simulate(load(TINY, {**MANY, **settings, "learning.executor": "dry"}))
    assert most == 3
    assert len(result.table("energy")) == len(result.table("users")) == 12
    assert max(result.table("users")["user"].to_pylist()) > 10**7


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"learning.scheme": "psl"}, "learning.scheme"),
        ({"learning.participants": "all"}, "learning.participants"),
        ({"learning.partition": "iid"}, "learning.partition"),
        ({"learning.policy": "asynchronous"}, "learning.policy"),
        ({"network.sharing.uplink.scheduler": "fixed"}, "network.sharing"),
        ({"network.mobility": {}}, "network.mobility"),
        ({"network.faults.mean_lifetime_s": 1.0}, "network.faults"),
        ({"energy.battery": {"capacity_j": 1.0}}, "energy.battery"),
        ({"compute.devices.memory_bytes": 1e9}, "compute.devices.memory_bytes"),
        ({"learning.batch_norm": "local"}, "learning.batch_norm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_needs_all_users_is_said(settings: dict[str, Any], field: str) -> None:
    billion = {**MANY, "network.users.count": 10**9, "limits.memory_bytes": 1e9}
    with pytest.raises(ScenarioError, match=rf"found 1000000000 users.*because of {field}$"):
        simulate(load(TINY, {**billion, **settings}))


def test_sampled_users_are_different_and_equally_likely() -> None:
    rule, streams = RandomParticipation(5), Streams(3)
    draws = np.array([rule.sampled(5, 8, number, 0, streams) for number in range(2000)])
    assert all(len(set(draw)) == 5 for draw in draws.tolist())
    counts = np.bincount(draws.ravel(), minlength=8)
    assert np.abs(counts - 1250).max() < 5 * np.sqrt(2000 * 5 / 8 * 3 / 8)
    assert sorted(rule.sampled(8, 8, 0, 0, streams)) == list(range(8))
    assert max(rule.sampled(5, 10**9, 0, 0, streams)) > 10**7
    assert RoundRobinParticipation(3).sampled(3, 7, 2, 6, streams) == [6, 0, 1]


def test_users_share_samples() -> None:
    labels, streams = np.arange(600) % 10, Streams(1)
    few, many = Shared(50).split(labels, 3, streams), Shared(50).split(labels, 10**9, streams)
    assert len(many) == 10**9
    for user in range(3):
        assert np.array_equal(few[user], many[user])
        assert len(np.unique(few[user])) == 50
    skewed = Shared(50, alpha=0.1).split(labels, 20, streams)
    largest = [np.bincount(labels[mine]).max() / len(mine) for mine in skewed]
    assert 0.4 < np.mean(largest) < 0.95
    assert all(len(np.unique(mine)) == len(mine) <= 50 for mine in skewed)
    with pytest.raises(ValueError, match="600 training samples are too few"):
        Shared(601).split(labels, 3, streams)


def test_values_drawn_one_by_one_are_those_drawn_at_once() -> None:
    streams = Streams(5)

    def draw(users: Any) -> list[float]:
        return streams.uniform("x", index=users).tolist()

    assert list(drawn(20, draw)) == [drawn(10**9, draw)[user] for user in range(20)]
    for sequence in (Lazy(3, str), Each(3, str), Lazy(3, str, now=True)):
        assert list(sequence) == ["0", "1", "2"]
        with pytest.raises(IndexError):
            sequence[3]


@pytest.mark.parametrize(("scheme", "limit"), [("fedavg", 1_000), ("sfl_v1", 5900)])
def test_one_more_user_takes_a_limited_number_of_calls(scheme: str, limit: int) -> None:
    """Calls of Python functions in a dry round of five local steps, which do not depend on the machine or its load."""
    for users in (30, 60):
        one_round(scheme, users)  # imports what is imported late, and fills what earlier tests may have filled in part
    few, many = (python_calls(lambda users=users: one_round(scheme, users)) for users in (30, 60))  # type: ignore[misc]
    assert (many - few) / 30 <= limit
