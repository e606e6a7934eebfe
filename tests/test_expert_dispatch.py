"""Where experts are called and what is done about misses, in a cell: times, bits and values."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expert_cells import (
    DOWN_BPS,
    EXPERTS,
    FLOPS,
    SITES,
    TOKENS,
    WEIGHTS,
    WIDTH,
    Cell,
    calls,
    layer_of,
    linear,
    mixed,
    passes,
    ran,
)
from learning.dispatch import (
    FromCloud,
    LeastWork,
    MinSites,
    Miss,
    Nearest,
    RandomSite,
    SiteSelection,
    SkipMissing,
    Substitute,
    WaitForFetch,
)
from learning.dispatch.misses import similarities
from learning.dispatch.pairs import Pairs
from learning.parties import User
from learning.ports import Process
from learning.protocols.expert_dispatch import DispatchPolicy
from learning.protocols.expert_layer import ExpertLayer
from learning.protocols.experts import CallMessages
from learning.protocols.join import join
from learning.routing import UniformRouting
from learning.world import World
from netsim.description import BackhaulDescription, SiteDescription
from netsim.storage import Lru
from netsim.streams import Streams
from netsim.values import ConstantPerUser
from runs import frame

ALL = range(EXPERTS)
ONE = torch.zeros(TOKENS, dtype=torch.int64)
TOP2 = torch.tensor([[1, 2], [2, 0], [1, 0], [5, 1], [0, 1], [2, 5]])
GATE = torch.linspace(0.1, 0.9, 2 * TOKENS, dtype=torch.float64).reshape(TOKENS, 2)
SIZE_BYTES = WIDTH * WIDTH * 8
TWO_EDGES = {"a": SiteDescription(1e5, station=0), "b": SiteDescription(1e5, station=0), "cloud": SITES["cloud"]}


def caching(places: int, **given: Any) -> Cell:
    """The cell whose edge has room for some experts, and evicts the least recently used one."""
    edge = replace(SITES["edge"], storage_bytes=places * SIZE_BYTES, eviction=Lru())
    return Cell(sites=SITES | {"edge": edge}, **given)


def cached(world: World, miss: Miss, **given: Any) -> ExpertLayer:
    """A layer whose experts are all in the cloud, and which the edge caches."""
    policy = DispatchPolicy(miss=miss, **given)
    return layer_of(world, {"edge": [], "cloud": ALL}, policy, cache=lambda user: world.sites["edge"])


@pytest.mark.parametrize("speed", [1e4, 1e7])
def test_the_nearest_site_is_the_one_whose_call_is_faster(speed: float) -> None:
    """A slow edge is further away than the cloud: as the delays of calls at either of them say, which are measured."""
    sites, delays_s = SITES | {"edge": SiteDescription(speed, station=0)}, {}

    def script(held: dict[str, Any]) -> Callable[[World], Process[Any]]:
        return lambda world: passes(world, layer_of(world, held), world.users[0], ONE)

    for site in ("edge", "cloud"):
        (row,) = calls(ran(script({"edge": [], "cloud": [], site: [0]}), Cell(sites))).to_dict("records")
        delays_s[site] = row["end_s"]
    (row,) = calls(ran(script({"edge": [0], "cloud": [0]}), Cell(sites))).to_dict("records")
    assert row["node"] == min(delays_s, key=lambda site: delays_s[site])
    assert row["hit"]


def test_least_work_spreads_calls_that_nearest_sends_to_one_site() -> None:
    """Of two equal sites, the one that works on the tokens of another user is left alone."""
    ends_s = {}
    for selection in (Nearest(), LeastWork()):

        def script(world: World, selection: SiteSelection = selection) -> Process[None]:
            layer = layer_of(world, {"a": [0], "b": [0], "cloud": [0]}, DispatchPolicy(selection))

            def late(user: User) -> Process[Any]:
                yield world.env.timeout(0.01 * user.number)
                return (yield from passes(world, layer, user, ONE))

            yield from join(world.env, [late(user) for user in world.users])

        rows = calls(ran(script, Cell(TWO_EDGES)))
        ends_s[type(selection)] = rows.end_s.max()
        assert set(rows.node) == ({"a"} if isinstance(selection, Nearest) else {"a", "b"})
    assert ends_s[LeastWork] < ends_s[Nearest]


def test_min_sites_sends_one_message_where_nearest_sends_two() -> None:
    """Experts 0 and 1 are both at the slower site; co-location saves one copy of the hidden states each way."""
    sites = TWO_EDGES | {"a": SiteDescription(2e5, station=0)}
    seen = {}
    for selection in (Nearest(), MinSites()):
        policy = DispatchPolicy(selection, messages=CallMessages(header_bits=0, weight_bits=0))

        def script(world: World, policy: DispatchPolicy = policy) -> Process[Any]:
            layer = layer_of(world, {"a": [0], "b": [0, 1], "cloud": []}, policy)
            return passes(world, layer, world.users[0], torch.tensor([[0, 1]] * TOKENS), GATE)

        rows = calls(ran(script, Cell(sites)))
        seen[type(selection)] = sorted(set(rows.node)), rows.bits_up.sum() + rows.bits_down.sum()
    assert seen[Nearest][0] == ["a", "b"]
    assert seen[MinSites][0] == ["b"]
    assert seen[Nearest][1] - seen[MinSites][1] == 2 * TOKENS * WIDTH * 64


def test_a_random_site_is_the_same_at_each_run_and_names_draws_by_user_and_pass() -> None:
    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"a": ALL, "b": ALL, "cloud": ALL}, DispatchPolicy(RandomSite()))
        for _ in range(6):
            yield from passes(world, layer, world.users[0], TOP2)

    first, again, other = (calls(ran(script, Cell(TWO_EDGES, seed=seed))) for seed in (1, 1, 2))
    assert first.equals(again)
    assert set(first.node) == {"a", "b", "cloud"}
    assert first.node.tolist() != other.node.tolist()


@pytest.mark.parametrize("fetch", [True, False])
def test_the_cloud_serves_a_miss_and_the_cache_fetches_meanwhile(fetch: bool) -> None:
    def script(world: World) -> Process[None]:
        layer = cached(world, FromCloud(fetch))
        for _ in range(2):
            yield from passes(world, layer, world.users[0], ONE)
            yield world.env.timeout(1)

    result = ran(script, caching(1))
    first, second = result.table("expert_calls").to_pylist()
    assert (first["node"], first["hit"], first["miss_action"]) == ("cloud", False, "cloud")
    expected = ("edge", True, None) if fetch else ("cloud", False, "cloud")
    assert (second["node"], second["hit"], second["miss_action"]) == expected
    fetched = frame(result, "transfers").query("kind == 'expert'")
    lines = 2  # that of the cloud, and that of the station
    assert fetched.bits.tolist() == ([SIZE_BYTES * 8] * lines if fetch else [])


def test_waiting_for_a_fetch_takes_the_fetch_and_a_call_at_the_edge() -> None:
    """Two users that miss the same expert wait for one transfer; a call of the first alone is the same without it."""
    ends_s = []

    def script(world: World) -> Process[None]:
        layer = cached(world, WaitForFetch())
        yield from join(world.env, [passes(world, layer, user, ONE) for user in world.users])
        ends_s.append(world.env.now)
        yield from passes(world, layer, world.users[0], ONE)
        ends_s.append(world.env.now)

    result = ran(script, caching(1))
    rows, fetched = calls(result), frame(result, "transfers").query("kind == 'expert'")
    fetch_s = SIZE_BYTES * 8 / 1e6 * 1 + 0.05 + SIZE_BYTES * 8 / 1e6 * 0 + 0.01
    assert len(fetched) == 2
    assert fetched.end_s.max() == pytest.approx(fetch_s)
    assert set(rows.node) == {"edge"}
    assert rows.miss_action.tolist()[:2] == ["wait"] * 2
    assert rows.hit.tolist() == [False, False, True]
    assert rows.start_s.tolist() == pytest.approx([fetch_s, fetch_s, ends_s[0]])
    assert rows.wait_s.tolist() == pytest.approx([0, TOKENS * FLOPS / 1e7, 0])


def test_where_the_cache_makes_no_room_the_cloud_serves_after_all() -> None:
    def script(world: World) -> Process[Any]:
        return passes(world, cached(world, WaitForFetch()), world.users[0], ONE)

    (row,) = ran(script, caching(0)).table("expert_calls").to_pylist()
    assert (row["node"], row["miss_action"], row["start_s"]) == ("cloud", "wait", 0)


def answers_of(policy: DispatchPolicy, held: dict[str, Any], cell: Cell | None = None, **given: Any) -> tuple[Any, Any]:
    """What a layer makes of the tokens, and the rows of its calls."""
    seen: list[Tensor] = []

    def script(world: World) -> Process[None]:
        layer = layer_of(world, held, policy, **given)
        seen.append(world.executor.value((yield from passes(world, layer, world.users[0], TOP2, GATE))))

    rows = ran(script, Cell() if cell is None else cell).table("expert_calls").to_pylist()
    return seen[0], rows


def test_skipped_experts_leave_their_weight_to_the_others() -> None:
    """Experts 2 and 5 are missed: tokens 0, 1 and 3 have one expert with all the weight, token 5 has none."""
    found, rows = answers_of(DispatchPolicy(miss=SkipMissing()), {"edge": [0, 1], "cloud": ALL})
    kept = (TOP2 != 2) & (TOP2 != 5)
    weights = torch.where(kept.any(-1, keepdim=True), GATE * kept / (GATE * kept).sum(-1, keepdim=True), 0)
    torch.testing.assert_close(
        found, mixed(TOP2, weights.nan_to_num() * GATE.sum(-1, keepdim=True)), rtol=1e-12, atol=1e-12
    )
    assert (found[5] == 0).all()
    skipped = [row for row in rows if row["call"] is None]
    assert [(row["expert"], row["pairs"], row["tokens"], row["bits_up"]) for row in skipped] == [
        (2, 3, 0, 0),
        (5, 2, 0, 0),
    ]
    assert {row["miss_action"] for row in skipped} == {"skip"}
    assert {row["node"] for row in rows if row["call"] is not None} == {"edge"}


def test_where_all_experts_are_skipped_nothing_is_sent_and_outputs_are_zero() -> None:
    found, rows = answers_of(DispatchPolicy(miss=SkipMissing()), {"edge": [7], "cloud": ALL})
    assert (found == 0).all()
    assert found.shape == (TOKENS, WIDTH)
    assert [row["call"] for row in rows] == [None] * 4


def test_substitutes_are_the_most_similar_experts_that_are_held() -> None:
    """By plain torch on the same random tokens; a token whose two experts become one has the sum of their weights."""
    found, rows = answers_of(DispatchPolicy(miss=Substitute()), {"edge": [0, 1, 3], "cloud": ALL})
    probe = Streams(1).generator("probe of experts", 0).standard_normal((64, WIDTH))
    similarity = similarities(linear, WEIGHTS, torch.from_numpy(probe))
    place = {each: max((0, 1, 3), key=lambda other: float(similarity[each, other])) for each in (2, 5)}
    chosen = TOP2.clone().apply_(lambda each: place.get(each, each))
    torch.testing.assert_close(found, mixed(chosen, GATE), rtol=1e-12, atol=1e-12)
    assert {row["node"] for row in rows if row["call"] is not None} == {"edge"}
    assert [row["expert"] for row in rows if row["miss_action"] == "substitute"] == [2, 5]
    pairs = Pairs(chosen, EXPERTS).of_experts
    assert sum(row["pairs"] for row in rows if row["call"] is not None) == sum(pairs.values())


def test_the_nearest_site_depends_on_how_many_tokens_an_expert_has() -> None:
    """A token takes 51 ms at the slow edge, and more than 120 ms on its way to the cloud and back; five go there."""

    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"edge": [0, 1], "cloud": ALL})
        yield from passes(world, layer, world.users[0], torch.tensor([[0]] * 5 + [[1]]))

    rows = calls(ran(script, Cell(sites={**SITES, "edge": SiteDescription(1e4, station=0)})))
    assert dict(zip(rows.expert, rows.node, strict=True)) == {0: "cloud", 1: "edge"}


@pytest.mark.parametrize("miss", [SkipMissing(), Substitute()], ids=repr)
def test_where_nothing_is_missed_policies_for_misses_are_exact(miss: Miss) -> None:
    exact, _ = answers_of(DispatchPolicy(), {"edge": [], "cloud": ALL})
    found, rows = answers_of(DispatchPolicy(miss=miss), {"edge": ALL, "cloud": ALL})
    assert torch.equal(found, exact)
    assert all(row["hit"] for row in rows)


EXACT: Any = None


@settings(max_examples=12)
@given(
    at_edge=st.sets(st.integers(0, EXPERTS - 1)),
    on_device=st.sets(st.integers(0, EXPERTS - 1), max_size=2),
    selection=st.sampled_from([Nearest(), LeastWork(), MinSites(), RandomSite()]),
    miss=st.sampled_from([FromCloud(), WaitForFetch()]),
    returns=st.sampled_from(["partial_sum", "per_expert"]),
    speed=st.sampled_from([1e4, 1e9]),
)
def test_no_value_depends_on_placement_selection_messages_or_speed(
    at_edge: set[int], on_device: set[int], selection: Any, miss: Miss, returns: Any, speed: float
) -> None:
    global EXACT
    if EXACT is None:
        EXACT, _ = answers_of(DispatchPolicy(), {"cloud": ALL})
    policy = DispatchPolicy(selection, miss, CallMessages(returns))
    cell = caching(8)
    cell = replace(cell, sites=dict(cell.sites) | {"edge": replace(cell.sites["edge"], flops_per_s=speed)})
    seen: list[Tensor] = []

    def script(world: World) -> Process[None]:
        layer = layer_of(
            world,
            {"edge": sorted(at_edge), "user0": sorted(on_device), "cloud": ALL},
            policy,
            cache=lambda user: world.sites["edge"],
        )
        seen.append(world.executor.value((yield from passes(world, layer, world.users[0], TOP2, GATE))))

    ran(script, cell)
    assert torch.equal(seen[0], EXACT)


def test_after_the_deadline_a_layer_goes_on_without_the_experts_that_are_late() -> None:
    """The cloud's experts 2 and 5 take 0.12 s at least; their weight goes to those of the edge."""
    deadline_s, ends_s, seen = 0.05, [], []

    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"edge": [0, 1], "cloud": ALL}, DispatchPolicy(deadline_s=deadline_s))
        seen.append(world.executor.value((yield from passes(world, layer, world.users[0], TOP2, GATE))))
        ends_s.append(world.env.now)

    rows = calls(ran(script))
    skipped, _ = answers_of(DispatchPolicy(miss=SkipMissing()), {"edge": [0, 1], "cloud": ALL})
    assert torch.equal(seen[0], skipped)
    assert ends_s == [deadline_s]
    assert rows.interrupted.tolist() == [node == "cloud" for node in rows.node]
    in_time, _ = answers_of(DispatchPolicy(deadline_s=10.0), {"edge": [0, 1], "cloud": ALL})
    assert torch.equal(in_time, answers_of(DispatchPolicy(), {"cloud": ALL})[0])


@pytest.mark.parametrize("tokens", [1, 3, 12])
def test_distinct_experts_of_a_batch_are_as_many_as_the_closed_form_says(tokens: int) -> None:
    """E (1 - (1 - K/E)^n) for n tokens that each go to K of E experts, all equally likely: within 4 standard errors."""
    top_k, draws = 2, 2000
    streams = Streams(3)
    counts = [
        len(Pairs(torch.from_numpy(UniformRouting().draw(streams, tokens, top_k, EXPERTS, each)), EXPERTS).of_experts)
        for each in range(draws)
    ]
    mean = sum(counts) / draws
    deviation = (sum((count - mean) ** 2 for count in counts) / draws) ** 0.5
    assert abs(mean - EXPERTS * (1 - (1 - top_k / EXPERTS) ** tokens)) <= 4 * deviation / draws**0.5 + 1e-12


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_fetching_an_expert_pays_off_after_as_many_tokens_as_its_hidden_layer_is_wide(more: int) -> None:
    """An expert of two matrices, d x f and f x d, has the bits of f round trips of a token, on the radio."""
    hidden = 5
    first, second = torch.ones(WIDTH, hidden).double(), torch.ones(hidden, WIDTH).double()

    def part(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return (x @ weights["a"]).relu() @ weights["b"]

    bits = {}
    for miss in (FromCloud(fetch=False), WaitForFetch()):
        policy = DispatchPolicy(miss=miss, messages=CallMessages(header_bits=0, weight_bits=0))

        def script(world: World, policy: DispatchPolicy = policy) -> Process[None]:
            device, cloud = world.sites["user0"], world.sites["cloud"]
            layer = ExpertLayer(world, 0, [cloud], part, [{"a": first, "b": second}], lambda user: device, policy)
            layer.store(0, cloud)
            for _ in range(hidden + more):
                yield from passes(world, layer, world.users[0], torch.zeros(1, dtype=torch.int64))

        rows = frame(ran(script, Cell(storage_bytes=ConstantPerUser(1e6))), "transfers")
        bits[type(miss)] = rows[rows.direction != "backhaul"].bits.sum()
    assert (bits[WaitForFetch] < bits[FromCloud]) == (more > 0)
    assert (bits[WaitForFetch] == bits[FromCloud]) == (more == 0)


@pytest.mark.parametrize(
    "changes",
    [
        [{"bandwidth_mhz": (k, 2 * k)} for k in (4.0, 2.0, 1.0)],
        [{"line": BackhaulDescription(rate, 0.01)} for rate in (1e8, 1e6, 1e5)],
        [{"sites": SITES | {"edge": SiteDescription(speed, station=0)}} for speed in (1e9, 1e7, 1e5)],
    ],
    ids=["radio", "backhaul", "speed"],
)
def test_a_pass_is_never_faster_in_a_worse_network(changes: list[dict[str, Any]]) -> None:
    def script(world: World) -> Process[Any]:
        layers = [layer_of(world, {"edge": [], "cloud": [], site: ALL}, number=k) for k, site in enumerate(SITES)]
        return join(world.env, [passes(world, layer, world.users[0], TOP2, GATE) for layer in layers])

    ends_s = [calls(ran(script, Cell(**each))).end_s.sum() for each in changes]
    assert ends_s == sorted(ends_s)
    assert ends_s[0] < ends_s[-1]


def end_s(held: int, chosen: Tensor) -> float:
    """Time of a pass with the first experts at the edge."""

    def script(world: World) -> Process[Any]:
        return passes(world, layer_of(world, {"edge": range(held), "cloud": ALL}), world.users[0], chosen)

    return float(calls(ran(script)).end_s.max())


def test_a_pass_is_never_faster_with_more_experts_of_a_token() -> None:
    by_top_k = [end_s(4, torch.tensor([[0, 3, 5, 6]] * TOKENS)[:, :top_k]) for top_k in (1, 2, 3, 4)]
    assert by_top_k == sorted(by_top_k)


def test_a_pass_through_one_expert_is_never_slower_with_more_experts_at_the_edge() -> None:
    one = [end_s(held, torch.full((TOKENS,), 3)) for held in (0, 2, 4, 8)]
    assert one == sorted(one, reverse=True)
    assert one[0] > one[-1]


def test_a_pass_through_several_experts_can_be_slower_with_one_more_at_the_edge() -> None:
    """The radio sends messages one after the other: a second copy of the hidden states delays the call of the cloud,
    which is the last to return. With all experts at the edge it is fastest."""
    chosen = torch.tensor([[0, 3, 5]] * TOKENS)
    none, some, all_of_them = (end_s(held, chosen) for held in (0, 1, 8))
    assert all_of_them < none < some


def test_everything_that_was_charged_was_done() -> None:
    """Busy time times speed of a site is the work of the pairs there; the bits of the radio are those of the calls."""

    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"edge": [0, 2], "cloud": ALL})
        for _ in range(3):
            yield from join(world.env, [passes(world, layer, user, TOP2, GATE) for user in world.users])

    result = ran(script)
    rows, jobs, messages = calls(result), frame(result, "computations"), frame(result, "transfers")
    for site, speed in (("edge", 1e7), ("cloud", 1e8)):
        assert jobs[jobs.node == site].service_s.sum() * speed == pytest.approx(
            rows[rows.node == site].pairs.sum() * FLOPS
        )
    assert rows.pairs.sum() == 3 * 2 * TOP2.numel()
    for direction, column in (("up", "bits_up"), ("down", "bits_down")):
        assert messages[messages.direction == direction].bits.sum() == pytest.approx(rows[column].sum())
    assert (messages[messages.direction == "down"].airtime_s * DOWN_BPS).sum() == pytest.approx(rows.bits_down.sum())
    assert len(messages[messages.direction == "up"]) == rows.call.nunique() == 12
