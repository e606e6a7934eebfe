"""Sites that go away: calls of experts go on at other sites, nothing is lost or done twice, and no value changes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expert_cells import EXPERTS, FLOPS, SITES, TOKENS, Cell, calls, layer_of, mixed, passes, ran
from learning.dispatch import FromCloud, LeastWork, Nearest, WaitForFetch
from learning.expert_parameters import Expert
from learning.ports import Process
from learning.protocols.expert_dispatch import DispatchPolicy
from learning.protocols.rounds import gather
from learning.world import World
from netsim.description import FaultsDescription
from netsim.faults import OnOffAvailability, Outage, SiteOutage
from netsim.storage import Lru
from runs import TINY, frame
from scenarios import ScenarioError, load

ALL = range(EXPERTS)
TOP2 = torch.tensor([[1, 2], [2, 0], [1, 0], [5, 1], [0, 1], [2, 5]])
GATE = torch.linspace(0.1, 0.9, 2 * TOKENS, dtype=torch.float64).reshape(TOKENS, 2)


def with_outages(**outages: list[tuple[float, float | None]]) -> Cell:
    """The cell with outages of its sites."""
    sites = {
        name: replace(site, outages=tuple(SiteOutage(*span) for span in outages.get(name, [])))
        for name, site in SITES.items()
    }
    return Cell(sites=sites)


def one_pass(answers: list[Tensor], held: dict[str, Any], start_s: float = 0.0) -> Any:
    """A script of one pass of user 0 at a time; the answer is added to `answers`."""

    def script(world: World) -> Process[None]:
        layer = layer_of(world, held)
        yield world.env.timeout(start_s)
        user = world.users[0]
        done = yield from gather(world, {user: passes(world, layer, user, TOP2, GATE)})
        answers.extend(world.executor.value(list(done.values())))

    return script


BOTH: dict[str, Any] = {"edge": ALL, "cloud": ALL}


@pytest.mark.parametrize("away_s", [0.0001, 0.001, 0.0013])
def test_a_call_of_a_site_that_goes_away_is_answered_by_the_next(away_s: float) -> None:
    """On the way there, in service, or on the way back: the call begins again at the cloud, at that instant."""
    answers: list[Tensor] = []
    undisturbed = calls(ran(one_pass(answers, BOTH)))
    assert set(undisturbed.node) == {"edge"}
    assert undisturbed.end_s.max() > away_s
    result = ran(one_pass(answers, BOTH), with_outages(edge=[(away_s, 5.0)]))
    rows = calls(result)
    assert torch.equal(answers[0], answers[1])
    edge, cloud = rows[rows.node == "edge"], rows[rows.node == "cloud"]
    assert edge.interrupted.all()
    assert not cloud.interrupted.any()
    assert set(edge.end_s) == set(cloud.start_s) == {away_s}
    assert not cloud.hit.any()
    assert edge.pairs.sum() == cloud.pairs.sum() == TOP2.numel()
    assert result.table("outages").to_pylist() == [
        {"user": None, "start_s": away_s, "end_s": None, "cause": "outage", "site": "edge"}
    ]
    answers_on_their_way = 1 if away_s > 0.00122 else 0  # whose work is done again
    work = frame(result, "computations").query("not interrupted").flops.sum()
    assert work == (1 + answers_on_their_way) * TOP2.numel() * FLOPS


def test_a_site_that_has_returned_serves_again_what_it_stores() -> None:
    rows = calls(ran(one_pass([], BOTH, start_s=0.5), with_outages(edge=[(0.1, 0.4)])))
    assert set(rows.node) == {"edge"}
    assert rows.hit.all()
    away = calls(ran(one_pass([], BOTH, start_s=0.3), with_outages(edge=[(0.1, 0.4)])))
    assert set(away.node) == {"cloud"}
    assert set(away.miss_action) == {"cloud"}


def test_an_expert_whose_sites_are_all_away_is_called_when_the_first_returns() -> None:
    """The experts of the edge do not wait for those of the cloud."""
    answers: list[Tensor] = []
    held = {"edge": [0, 1], "cloud": [2, 5]}
    ran(one_pass(answers, held))
    rows = calls(ran(one_pass(answers, held), with_outages(cloud=[(0.0, 0.3), (0.31, 0.9)])))
    assert torch.equal(answers[0], answers[1])
    assert set(rows[rows.node == "edge"].start_s) == {0.0}
    cloud = rows[rows.node == "cloud"]
    assert cloud[cloud.interrupted].start_s.tolist() == [0.3] * 2
    assert cloud[~cloud.interrupted].start_s.tolist() == pytest.approx([0.9] * 2)


def test_a_user_whose_experts_are_gone_for_good_is_dropped_and_the_run_ends() -> None:
    answers: list[Tensor] = []
    result = ran(one_pass(answers, {"cloud": ALL}), with_outages(cloud=[(0.05, None)]))
    assert answers == []
    assert result.status == "complete"
    assert frame(result, "rounds").dropped.tolist() == [1]
    assert calls(result).interrupted.all()


@pytest.mark.parametrize("site", ["edge", "cloud"])
def test_a_fetch_from_or_to_a_site_that_goes_away_stores_nothing(site: str) -> None:
    cell = with_outages(**{site: [(0.01, 0.02)]})
    cell = replace(cell, sites=dict(cell.sites) | {"edge": replace(cell.sites["edge"], eviction=Lru())})
    held: list[bool] = []
    ends_s: list[float] = []

    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"edge": [], "cloud": ALL}, cache=lambda user: world.sites["edge"])
        fetch = layer.sites.fetch(world.users[0], 0, layer.weights[0])
        assert fetch is not None
        yield fetch
        ends_s.append(world.env.now)
        held.append(world.sites["edge"].node.storage.holds(Expert(0, 0)))
        fetch = layer.sites.fetch(world.users[0], 0, layer.weights[0])
        if fetch is not None:
            yield fetch
        yield world.env.timeout(1)
        again = layer.sites.fetch(world.users[0], 0, layer.weights[0])
        assert again is not None
        yield again
        held.append(layer.sites.hits(layer.sites.holders(world.users[0], 0)))

    ran(script, cell)
    assert ends_s == [0.01]
    assert held == [False, True]


def test_absences_of_sites_are_drawn_for_each_site_and_apart_from_those_of_users() -> None:
    law = OnOffAvailability(mean_on_s=0.1, mean_off_s=0.1, start="on")
    sites = {name: replace(site, availability=law) for name, site in SITES.items()}

    def script(world: World) -> Process[None]:
        for node in (world.sites["edge"].node, world.sites["cloud"].node, world.users[0].node):
            while not node.away:
                yield world.env.timeout(0.001)

        yield world.env.timeout(5)
        yield from one_pass([], BOTH)(world)

    rows = ran(script, Cell(sites=sites, faults=FaultsDescription(availability=law))).table("outages").to_pylist()
    first_s = {}
    for row in rows:
        first_s.setdefault(row["site"] or row["user"], row["start_s"])
    assert {"edge", "cloud"} <= first_s.keys()
    assert len(set(first_s.values())) == len(first_s)


spans = st.lists(
    st.tuples(st.floats(0, 0.4), st.floats(1e-6, 0.3) | st.none()).map(lambda s: (s[0], s[1] and s[0] + s[1])),
    max_size=3,
)


@settings(max_examples=25)
@given(
    edge=spans,
    cloud=spans.map(lambda each: [span for span in each if span[1] is not None]),
    users=st.lists(st.tuples(st.integers(0, 1), st.floats(0, 0.4), st.floats(1e-6, 0.3)), max_size=2),
    policy=st.builds(
        DispatchPolicy,
        st.sampled_from([Nearest(), LeastWork()]),
        st.sampled_from([FromCloud(), FromCloud(fetch=False), WaitForFetch()]),
    ),
    held=st.sets(st.sampled_from([0, 1, 2, 5])),
)
def test_storms_of_outages_lose_and_double_nothing(
    edge: Any, cloud: Any, users: Any, policy: DispatchPolicy, held: set[int]
) -> None:
    """Each pass that ends has called each of its experts once to the end, and has the values of a calm network."""
    cell = with_outages(edge=edge, cloud=cloud)
    caching = replace(cell.sites["edge"], storage_bytes=4 * 2048.0, eviction=Lru())
    absences = tuple(Outage(user, from_s, from_s + for_s) for user, from_s, for_s in users)
    cell = replace(
        cell, sites=dict(cell.sites) | {"edge": caching}, faults=FaultsDescription(outages=absences), rounds=3
    )
    passed: list[tuple[int, int, Tensor]] = []

    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"edge": sorted(held), "cloud": ALL}, policy, cache=lambda user: world.sites["edge"])
        work = {user: passes(world, layer, user, TOP2, GATE) for user in world.users}
        done = yield from gather(world, work)
        answers = world.executor.value(list(done.values()))
        passed.extend((world.journal.round, u.number, own) for u, own in zip(done, answers, strict=True))

    result = ran(script, cell)
    assert result.status == "complete"
    rows, jobs, messages = calls(result), frame(result, "computations"), frame(result, "transfers")
    for number, user, values in passed:
        torch.testing.assert_close(values, mixed(TOP2, GATE), rtol=1e-12, atol=1e-12)
        own = rows[(rows["round"] == number) & (rows.user == user) & ~rows.interrupted]
        assert sorted(own.expert) == [0, 1, 2, 5]
        assert own.pairs.sum() == TOP2.numel()
    completed = jobs[~jobs.interrupted]
    assert completed.flops.sum() >= len(passed) * TOP2.numel() * FLOPS
    busy = {"edge": 1e7, "cloud": 1e8}
    assert (completed.service_s * completed.node.map(busy)).sum() == pytest.approx(completed.flops.sum())
    assert (rows.interrupted | rows.service_s.notna()).all()
    assert (rows.end_s >= rows.start_s).all()
    assert (messages.end_s >= messages.start_s).all()


def test_an_outage_that_ends_before_it_begins_is_refused() -> None:
    sites = {"edge": {"flops_per_s": 1e9, "outages": [{"from_s": 2.0, "until_s": 1.0}]}}
    with pytest.raises(ScenarioError, match=r"sites\.edge\.outages.*until_s \(1\) must come after from_s \(2\)"):
        load(TINY, {"compute.sites": sites})
