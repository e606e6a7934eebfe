"""Calls of experts over a real network: what they take, what they write down, and what comes of them."""

from dataclasses import replace
from math import ceil, log2
from typing import Any

import pytest
import simpy
import torch
from torch import Tensor

from expert_cells import (
    DOWN_BPS,
    EXPERTS,
    FLOPS,
    SITES,
    TOKENS,
    UP_BPS,
    WEIGHTS,
    WIDTH,
    Cell,
    X,
    calls,
    layer_of,
    mixed,
    passes,
    ran,
)
from learning.ports import Process
from learning.protocols.expert_dispatch import DispatchPolicy
from learning.protocols.experts import CallMessages
from learning.protocols.join import join
from learning.protocols.rounds import gather
from learning.world import World
from netsim.description import EnergyDescription
from netsim.energy import JoulesPerFlop
from netsim.values import ListedPerUser
from runs import frame
from scenarios import RunFailed, ScenarioError

Q = 64  # bits of a number
NAME = ceil(log2(EXPERTS))
ALL = range(EXPERTS)
ONE = torch.zeros(TOKENS, dtype=torch.int64)
"""All tokens go to expert 0."""
UP, DOWN = TOKENS * (WIDTH * Q + NAME) + 128, TOKENS * WIDTH * Q + 128
WORK_S = {"edge": TOKENS * FLOPS / 1e7, "cloud": TOKENS * FLOPS / 1e8, "user0": TOKENS * FLOPS / 1e6}
WORK_S["user1"] = WORK_S["user0"]
TOP2 = torch.tensor([[1, 2], [2, 0], [1, 0], [5, 1], [0, 1], [2, 5]])
GATE = torch.linspace(0.1, 0.9, 2 * TOKENS, dtype=torch.float64).reshape(TOKENS, 2)


def held(site: str, *experts: int) -> dict[str, Any]:
    """These experts at the site, all at the cloud."""
    return {site: experts or ALL} | ({"cloud": ALL} if site != "cloud" else {})


@pytest.mark.parametrize("site", WORK_S)
def test_a_call_takes_what_its_messages_and_its_work_take(site: str) -> None:
    answers: list[Any] = []

    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"cloud": [], site: [0]} if site != "edge" else {site: [0], "cloud": []})
        if site == "user1":
            layer.sites.sites = [world.sites["user1"], *layer.sites.sites]
        answers.append((yield from passes(world, layer, world.users[0], ONE)))
        answers.append(world.executor.value(answers[0]))

    result = ran(script)
    assert torch.equal(answers[1], X @ WEIGHTS[0]["w"])
    (row,) = result.table("expert_calls").to_pylist()
    up_s, down_s = UP / UP_BPS, DOWN / DOWN_BPS
    radio_s = {"user0": 0.0, "user1": up_s + UP / DOWN_BPS + DOWN / UP_BPS + down_s}.get(site, up_s + down_s)
    lines_s = (UP + DOWN) / 1e6 + 2 * (0.01 + 0.05) if site == "cloud" else 0.0
    assert row["start_s"] == 0
    assert row["end_s"] == pytest.approx(radio_s + lines_s + WORK_S[site], rel=1e-9)
    assert (row["bits_up"], row["bits_down"]) == ((0, 0) if site == "user0" else (UP, DOWN))
    assert row["wait_s"] == 0
    assert row["service_s"] == pytest.approx(WORK_S[site])
    names = ["round", "call", "user", "layer", "expert", "node", "kind", "tokens", "pairs", "hit", "interrupted"]
    expected = [0, 0, 0, 0, 0, site, "expert_forward", TOKENS, TOKENS, site != "cloud", False]
    assert [row[name] for name in names] == expected
    assert (row["request"], row["miss_action"]) == (None, "cloud" if site == "cloud" else None)
    assert len(frame(result, "transfers")) == {"user0": 0, "user1": 4, "edge": 2, "cloud": 6}[site]


@pytest.mark.parametrize("returns", ["partial_sum", "per_expert"])
@pytest.mark.parametrize("header_bits", [0, 128])
@pytest.mark.parametrize("at_edge", [(), (0, 2), (1,), tuple(ALL)])
def test_one_message_for_all_experts_at_a_site_with_each_token_once(
    returns: Any, header_bits: int, at_edge: tuple[int, ...]
) -> None:
    """Bits by the formulas of the message, from plain sets of tokens and pairs; the sum is that in one place."""
    answers: list[Any] = []
    policy = DispatchPolicy(messages=CallMessages(returns, header_bits))

    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"edge": at_edge, "cloud": ALL}, policy, layers=3)
        out = yield from passes(world, layer, world.users[0], TOP2, GATE, request=7)
        answers.append(world.executor.value(out))

    result = ran(script)
    torch.testing.assert_close(answers[0], mixed(TOP2, GATE), rtol=1e-13, atol=1e-13)
    rows = calls(result)
    choices = [(token, expert) for token, own in enumerate(TOP2.tolist()) for expert in own]
    name_bits = ceil(log2(3 * EXPERTS))
    expected_s, used = {}, {"edge": set(at_edge), "cloud": set(ALL) - set(at_edge)}
    for site, experts in used.items():
        own = [(token, expert) for token, expert in choices if expert in experts]
        tokens = len({token for token, _ in own})
        if own:
            down = (len(own) if returns == "per_expert" else tokens) * WIDTH * Q + header_bits
            expected_s[site] = (tokens * WIDTH * Q + len(own) * (name_bits + 16) + header_bits, down, tokens, len(own))
    seen = {
        site: (group.bits_up.sum(), group.bits_down.sum(), group.tokens.max(), group.pairs.sum())
        for site, group in rows.groupby("node")
    }
    assert seen == {site: pytest.approx(figures) for site, figures in expected_s.items()}
    assert rows.groupby("node").call.nunique().eq(1).all()
    assert rows.call.nunique() == len(seen)
    assert set(rows.request) == {7}
    shares = rows.pairs / rows.groupby("call").pairs.transform("sum")
    assert rows.bits_up.tolist() == pytest.approx((shares * rows.groupby("call").bits_up.transform("sum")).tolist())
    messages = frame(result, "transfers")
    assert len(messages.query("direction == 'up'")) == len(messages.query("direction == 'down'")) == len(seen)
    assert messages.query("direction == 'up'").bits.sum() == pytest.approx(rows.bits_up.sum())
    jobs = frame(result, "computations")
    assert jobs.flops.sum() == 2 * TOKENS * FLOPS
    assert len(jobs) == len(seen)


def test_bits_of_a_pass_with_all_experts_in_the_cloud_are_those_of_the_formula() -> None:
    """One token, top K: 2 d q + K (ids and weights) + two headers; with all experts on the device none at all."""
    seen: dict[str, float] = {}
    for site in ("cloud", "user0"):

        def script(world: World, site: str = site) -> Process[None]:
            layer = layer_of(world, held(site))
            yield from passes(world, layer, world.users[0], TOP2[:1], GATE[:1])

        rows = calls(ran(script))
        seen[site] = rows.bits_up.sum() + rows.bits_down.sum()
    assert seen == {"cloud": 2 * WIDTH * Q + 2 * (NAME + 16) + 2 * 128, "user0": 0}


def test_the_time_and_the_energy_of_a_job_are_shared_by_pairs() -> None:
    """One job for all experts at a site, whose work is that of all pairs."""

    def script(world: World) -> Process[None]:
        yield from passes(world, layer_of(world, held("edge")), world.users[0], TOP2, GATE)

    rows = calls(ran(script, Cell(energy=EnergyDescription(server_compute=JoulesPerFlop(1e-3)))))
    assert rows.service_s.tolist() == pytest.approx((rows.pairs * FLOPS / 1e7).tolist())
    assert rows.energy_j.tolist() == pytest.approx((rows.pairs * FLOPS * 1e-3).tolist())
    assert rows.pairs.tolist() == [3, 4, 3, 2]


def test_what_an_expert_needs_is_memory_of_the_device_that_it_is_on() -> None:
    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"cloud": []})
        layer.sites.sites = [world.sites["user1"]]
        layer.store(0, world.sites["user1"])
        yield from passes(world, layer, world.users[0], ONE)

    ran(script, Cell(memory_bytes=ListedPerUser((1.0, 1e4))))
    with pytest.raises(ScenarioError, match="user 1 has 1 bytes, and its largest job takes 3584;"):
        ran(script, Cell(memory_bytes=ListedPerUser((1e4, 1.0))))


def test_an_expert_that_no_site_holds_is_told() -> None:
    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"edge": [0], "cloud": [1]}, number=3)
        yield from passes(world, layer, world.users[0], torch.full((TOKENS,), 7))

    with pytest.raises(RunFailed, match="expert 7 of layer 3 is called, and none of edge, cloud holds it"):
        ran(script)


def test_calls_of_one_expert_wait_for_each_other_at_its_site() -> None:
    def script(world: World) -> Process[None]:
        layer = layer_of(world, held("edge"))
        yield from join(world.env, [passes(world, layer, user, ONE) for user in world.users])

    rows = calls(ran(script))
    assert rows.wait_s.tolist() == pytest.approx([0, WORK_S["edge"]])
    assert (rows.end_s - rows.start_s).tolist() == pytest.approx(
        [UP / UP_BPS + DOWN / DOWN_BPS + WORK_S["edge"] * k for k in (1, 2)]
    )


def test_calls_of_several_sites_join_when_the_last_is_in() -> None:
    """All messages of a user use its one radio, in the order of the experts."""
    ends_s: list[float] = []
    chosen = torch.tensor([1, 0, 1, 0, 1, 0])

    def script(world: World) -> Process[None]:
        yield from passes(world, layer_of(world, {"edge": [1], "cloud": [0]}), world.users[0], chosen)
        ends_s.append(world.env.now)

    rows = calls(ran(script)).set_index("node")
    assert ends_s == [rows.end_s.max()]
    up, down = 3 * (WIDTH * Q + NAME) + 128, 3 * WIDTH * Q + 128
    radio_s, lines_s = up / UP_BPS + down / DOWN_BPS, (up + down) / 1e6 + 2 * (0.01 + 0.05)
    assert rows.end_s["cloud"] == pytest.approx(radio_s + lines_s + 3 * FLOPS / 1e8)
    assert rows.end_s["edge"] == pytest.approx(up / UP_BPS + radio_s + 3 * FLOPS / 1e7)


@pytest.mark.parametrize("slower_s", [0.0, 0.001, 0.01])
def test_a_layer_ends_with_its_last_branch(slower_s: float) -> None:
    """Slower work of a branch that is not critical changes nothing within its slack; that of the critical one adds."""
    ends_s: dict[str, list[float]] = {"edge": [], "cloud": []}
    chosen, work_s = torch.tensor([1, 0, 1, 0, 1, 0]), {"edge": 3 * FLOPS / 1e7, "cloud": 3 * FLOPS / 1e8}
    slack_s = 0.0
    for site in ends_s:
        for extra_s in (0.0, slower_s):

            def script(world: World, site: str = site) -> Process[None]:
                yield from passes(world, layer_of(world, {"edge": [1], "cloud": [0]}), world.users[0], chosen)
                ends_s[site].append(world.env.now)

            speed = 3 * FLOPS / (work_s[site] + extra_s)
            rows = calls(ran(script, Cell(sites=SITES | {site: replace(SITES[site], flops_per_s=speed)})))
            if extra_s == 0:
                slack_s = rows.end_s.max() - rows.end_s.min()
    (edge, edge_slower), (cloud, cloud_slower) = ends_s.values()
    assert edge == cloud
    assert slower_s < slack_s
    assert edge_slower == pytest.approx(edge, rel=1e-12)
    assert cloud_slower == pytest.approx(cloud + slower_s, rel=1e-12)


def test_a_call_that_is_given_up_leaves_rows() -> None:
    """At 3 ms the first user's tokens are on their way to the cloud, and those of the second are being worked on."""

    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"cloud": [1, 2], "user1": [0, 3]})
        both = [torch.tensor([1, 2, 1, 2, 1, 2]), torch.tensor([0, 3, 0, 3, 0, 3])]
        works = [passes(world, layer, user, own) for user, own in zip(world.users, both, strict=True)]
        process = world.env.process(join(world.env, works))
        yield world.env.timeout(0.003)
        process.interrupt("late")
        with pytest.raises(simpy.Interrupt):
            yield process

    rows = calls(ran(script))
    assert rows.interrupted.tolist() == [True] * 4
    assert rows.end_s.tolist() == [0.003] * 4
    assert rows.bits_down.tolist() == [0] * 4
    assert rows.service_s.isna().all()
    assert rows.groupby("call").user.nunique().tolist() == [1, 1]


def test_a_device_that_goes_away_ends_the_calls_of_others_and_drops_them_if_no_other_site_can_serve() -> None:
    """User 1's device leaves for good at 2 ms, when it works on user 0's tokens; the call to the edge is over then."""
    done: list[Any] = []

    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"edge": [1]})
        layer.sites.sites = [world.sites["edge"], world.sites["user1"]]
        layer.store(0, world.sites["user1"])
        owner: Any = world.sites["user1"].node
        owner.place.presence.steady = False

        def leave() -> Process[None]:
            yield world.env.timeout(0.002)
            owner.place.presence.leave("outage", permanently=True)

        world.env.process(leave())
        user = world.users[0]
        done.append((yield from gather(world, {user: passes(world, layer, user, torch.tensor([1, 1, 0, 0, 0, 0]))})))
        done.append(world.env.now)

    rows = calls(ran(script)).set_index("node")
    assert done == [{}, 0.002]
    assert rows.interrupted.to_dict() == {"edge": False, "user1": True}
    assert rows.end_s["user1"] == 0.002


def product(weights: Tensor, tokens: Tensor) -> Tensor:
    return tokens @ weights


def read_by(told: str | None, stand_in: Any, executor: str = "dry") -> list[Tensor]:
    """What the second user reads of a product."""
    read: list[Tensor] = []

    def script(world: World) -> Process[None]:
        value = world.executor.submit(product, WEIGHTS[0]["w"], X)
        read.append((yield from world.users[1].read(value, stand_in)))
        assert world.env.now == 0

    ran(script, Cell(executor=executor, told=told))
    return read


def test_a_read_value_is_what_torch_computes() -> None:
    for executor in ("batched", "eager"):
        (read,) = read_by(None, None, executor)
        assert torch.equal(read, X @ WEIGHTS[0]["w"])


def test_a_dry_run_reads_a_declared_stand_in() -> None:
    (read,) = read_by("ones", torch.ones_like)
    assert read.shape == (TOKENS, WIDTH)


@pytest.mark.parametrize(
    ("told", "stand_in", "sentence"),
    [
        ("ones", None, "user 1 reads a value within a round, the dry executor computes none, and the read gives none"),
        (None, lambda shape: torch.ones(shape.shape), "the scheme's property stand_in does not tell it"),
        ("ones", lambda shape: torch.ones(2), r"shape \(6, 16\), and its stand-in has the shape \(2,\)"),
    ],
)
def test_what_is_read_without_values_is_never_made_up_silently(told: str | None, stand_in: Any, sentence: str) -> None:
    with pytest.raises(RunFailed, match=sentence):
        read_by(told, stand_in)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_layer_is_its_experts_and_steps_along_the_gradients_of_those_who_called_and_were_in_time(
    weighted: bool,
) -> None:
    """User 0 has its tokens at experts 1 and 2, user 1 all of its at expert 1, and is dropped afterwards."""
    told: dict[str, Any] = {}
    chosen = [torch.tensor([[1, 2], [2, 1], [2, 1], [1, 2], [1, 2], [2, 1]]), torch.tensor([[1, 0]] * TOKENS)]
    if not weighted:
        chosen = [each[:, 0] for each in chosen]
    gate = GATE if weighted else None
    pull = torch.linspace(1, 3, TOKENS * WIDTH, dtype=torch.float64).reshape(TOKENS, WIDTH)

    def script(world: World) -> Process[None]:
        layer = layer_of(world, {"edge": [0, 1], "cloud": [2]})

        def work(user: Any) -> Process[Any]:
            routed = layer.route(user, chosen[user.number], gate)
            out = yield from routed.forward(X)
            return out, (yield from routed.backward(pull)), routed.weight_gradients

        both = yield from join(world.env, [work(user) for user in world.users])
        layer.step(world.users[:1])
        told["done"] = [world.executor.value(list(each[:2])) for each in both]
        told["gate"] = None if gate is None else world.executor.value(both[0][2])
        told["weights"], told["optimiser"] = world.executor.value(layer.weights), world.server_optimiser

    rows = calls(ran(script))
    weights = [each["w"].clone().requires_grad_() for each in WEIGHTS]
    tokens, scale = X.clone().requires_grad_(), torch.ones(TOKENS, 2).double() if gate is None else gate.clone()
    scale.requires_grad_()
    own = chosen[0].reshape(TOKENS, -1)
    outputs = torch.stack(
        [
            sum(scale[i, k] * (tokens[i] @ weights[e]) for k, e in enumerate(own[i].tolist()))  # type: ignore[misc]
            for i in range(TOKENS)
        ]
    )
    outputs.backward(pull)
    torch.testing.assert_close(told["done"][0], [outputs.detach(), tokens.grad], rtol=1e-12, atol=1e-12)
    if weighted:
        torch.testing.assert_close(told["gate"], scale.grad, rtol=1e-12, atol=1e-12)
    rate = told["optimiser"].learning_rate
    for expert in (1, 2):
        stepped = WEIGHTS[expert]["w"] - rate * weights[expert].grad  # type: ignore[operator]
        torch.testing.assert_close(told["weights"][expert]["w"], stepped, rtol=1e-12, atol=1e-12)
    if not weighted:
        assert torch.equal(told["weights"][0]["w"], WEIGHTS[0]["w"])
    back = rows.query("kind == 'expert_backward' and user == 0 and node == 'cloud'").iloc[0]
    gate_bits = 16 * back.pairs if weighted else 0
    assert (back.bits_up, back.bits_down) == (
        back.tokens * WIDTH * Q + 128,
        back.tokens * WIDTH * Q + gate_bits + 128,
    )
