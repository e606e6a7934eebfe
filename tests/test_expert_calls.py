"""Calls of experts over a real network: what they take, what they write down, and what comes of them."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log2, pi
from typing import Any, ClassVar

import pandas as pd
import pytest
import simpy
import torch
from torch import Tensor

from learning.data import Digits
from learning.description import LearningDescription
from learning.ports import Process
from learning.protocols.expert_layer import ExpertLayer
from learning.protocols.experts import Expert, call
from learning.protocols.join import join
from learning.protocols.rounds import gather
from learning.scheme import Scheme
from learning.stop import Stop
from learning.world import World
from netsim.description import (
    BackhaulDescription,
    BandDescription,
    ChannelDescription,
    ComputeDescription,
    DevicesDescription,
    NetworkDescription,
    SharingDescription,
    SiteDescription,
    StationsDescription,
    UsersDescription,
)
from netsim.geometry import Explicit
from netsim.radio.fading import NoFading
from netsim.radio.pathloss import FreeSpace
from netsim.radio.scheduling import FixedShares
from netsim.values import ConstantPerUser, ListedPerUser, PerUser
from runs import frame
from scenarios import RunFailed, ScenarioError, simulate
from scenarios.run import Result
from scenarios.schema import Scenario

USERS = 2
LINE = BackhaulDescription(rate_bps=1e6, delay_s=0.01)
SITES = {"edge": SiteDescription(1e7, station=0), "cloud": SiteDescription(1e8, delay_s=0.05)}
GAIN = (299_792_458.0 / (4 * pi * 100.0 * 1e9)) ** 2  # free space, 100 m at 1 GHz
NOISE_W_PER_HZ = 10 ** (-174 / 10) / 1000
UP_BPS = 1e6 / USERS * log2(1 + 0.1 * GAIN / (NOISE_W_PER_HZ * 1e6 / USERS))  # 20 dBm in the user's half of 1 MHz
DOWN_BPS = 2e6 / USERS * log2(1 + 1.0 * GAIN / (NOISE_W_PER_HZ * 2e6))  # 30 dBm over all of 2 MHz

TOKENS, WIDTH = 6, 16
BITS = TOKENS * WIDTH * 32
FLOPS = 2 * TOKENS * WIDTH * WIDTH
HALF_S = {"edge": FLOPS / 1e7, "cloud": FLOPS / 1e8, "user0": FLOPS / 1e6, "user1": FLOPS / 1e6}
"""Work of the expert at each site."""


@dataclass(frozen=True)
class Scripted(Scheme):
    """A scheme whose one round does what a test says."""

    script: ClassVar[Callable[[World], Process[Any]]]
    told: str | None = None

    @property
    def stand_in(self) -> str | None:
        return self.told

    def run(self, world: World) -> Process[None]:
        for _ in world.rounds():
            yield from Scripted.script(world)
            world.models(world.initial(world.whole))


def ran(
    script: Callable[[World], Process[Any]],
    executor: Any = "batched",
    told: str | None = None,
    memory_bytes: PerUser | None = None,
) -> Result:
    """Run a script in a cell in which every rate is known."""
    Scripted.script = staticmethod(script)
    network = NetworkDescription(
        stations=StationsDescription(height_m=5.0, tx_power_dbm=30.0, noise_figure_db=0.0),
        users=UsersDescription(
            USERS, Explicit(((100.0, 0.0), (-100.0, 0.0))), 5.0, ConstantPerUser(20.0), noise_figure_db=0.0
        ),
        channel=ChannelDescription(carrier_ghz=1.0, path_loss=FreeSpace(), fading=NoFading()),
        sharing=SharingDescription(BandDescription(1.0, FixedShares()), BandDescription(2.0, FixedShares())),
        backhaul=LINE,
    )
    compute = ComputeDescription(DevicesDescription(ConstantPerUser(1e6), memory_bytes), sites=SITES)
    learning = LearningDescription(
        Scripted(told), Stop(rounds=1), Digits(train_samples=40, test_samples=40), executor=executor
    )
    return simulate(Scenario(network=network, compute=compute, learning=learning))


def product(weights: Tensor, tokens: Tensor) -> Tensor:
    return tokens @ weights


def kept(weights: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    return tokens.T @ tokens, tokens @ weights


WEIGHTS = torch.linspace(-1, 1, WIDTH * WIDTH).reshape(WIDTH, WIDTH)
TOKEN = torch.linspace(0, 2, TOKENS * WIDTH).reshape(TOKENS, WIDTH)
A, B = Expert(0, 0), Expert(3, 7)


def calls(result: Result) -> pd.DataFrame:
    return frame(result, "expert_calls")


PATHS_S = {
    "edge": 0.0,
    "cloud": BITS / 1e6 + 0.01 + 0.05,
    "user0": 0.0,
    "user1": 0.0,
}
"""One way between the station and a site, without the radio of the caller and of the site's device."""


@pytest.mark.parametrize("site", PATHS_S)
def test_a_call_takes_what_its_messages_and_its_work_take(site: str) -> None:
    answers = []

    def script(world: World) -> Process[None]:
        there, user = world.sites[site], world.users[0]
        there.hold(A, WEIGHTS)
        answers.append((yield from call(world, user, A, [there], TOKEN, product, WEIGHTS, kind="expert_forward")))
        answers.append(world.executor.value(answers[0]))

    result = ran(script)
    assert torch.equal(answers[1], TOKEN @ WEIGHTS)
    (row,) = calls(result).to_dict("records")
    up_s, down_s = BITS / UP_BPS, BITS / DOWN_BPS
    radio_s = {"user0": 0.0, "user1": up_s + down_s + down_s + up_s}.get(site, up_s + down_s)
    assert row["start_s"] == 0
    assert row["end_s"] == pytest.approx(radio_s + 2 * PATHS_S[site] + HALF_S[site], rel=1e-9)
    bits = 0 if site == "user0" else BITS
    assert (row["bits_up"], row["bits_down"], row["wait_s"]) == (bits, bits, 0)
    assert row["service_s"] == pytest.approx(HALF_S[site])
    names = ["round", "user", "layer", "expert", "node", "kind", "tokens", "hit", "interrupted"]
    assert [row[name] for name in names] == [0, 0, 0, 0, site, "expert_forward", TOKENS, True, False]
    assert len(frame(result, "transfers")) == {"user0": 0, "user1": 4, "edge": 2, "cloud": 6}[site]


def test_of_two_results_the_second_goes_to_the_user_and_the_first_stays() -> None:
    answers = []

    def script(world: World) -> Process[None]:
        there, user = world.sites["edge"], world.users[0]
        there.hold(B, WEIGHTS)
        both = yield from call(world, user, B, [there], TOKEN, kept, WEIGHTS, kind="expert_backward")
        answers.extend(world.executor.value(list(both)))

    (row,) = calls(ran(script)).to_dict("records")
    assert torch.equal(answers[0], TOKEN.T @ TOKEN)
    assert torch.equal(answers[1], TOKEN @ WEIGHTS)
    assert (row["bits_down"], row["layer"], row["expert"]) == (BITS, 3, 7)


def test_the_first_site_that_holds_an_expert_is_called_and_only_the_first_is_a_hit() -> None:
    def script(world: World) -> Process[None]:
        edge, cloud, user = world.sites["edge"], world.sites["cloud"], world.users[0]
        for expert, sites in ((A, (edge, cloud)), (B, (cloud,))):
            for site in sites:
                site.hold(expert, WEIGHTS)
            yield from call(world, user, expert, [edge, cloud], TOKEN, product, WEIGHTS, kind="x")

    rows = calls(ran(script))
    assert list(zip(rows.expert, rows.node, rows.hit, strict=True)) == [(0, "edge", True), (7, "cloud", False)]


def test_what_an_expert_needs_is_memory_of_the_device_that_it_is_on() -> None:
    def script(world: World) -> Process[None]:
        there = world.sites["user1"]
        there.hold(A, WEIGHTS)
        yield from call(world, world.users[0], A, [there], TOKEN, product, WEIGHTS, kind="x")

    ran(script, memory_bytes=ListedPerUser((1.0, 1e4)))
    with pytest.raises(ScenarioError, match="user 1 has 1 bytes, and its largest job takes 1792;"):
        ran(script, memory_bytes=ListedPerUser((1e4, 1.0)))


def test_an_expert_that_no_site_holds_is_told() -> None:
    def script(world: World) -> Process[None]:
        sites = [world.sites["edge"], world.sites["cloud"]]
        yield from call(world, world.users[0], B, sites, TOKEN, product, WEIGHTS, kind="x")

    with pytest.raises(RunFailed, match="expert 7 of layer 3 is called, and none of edge, cloud holds it"):
        ran(script)


def test_calls_of_one_expert_wait_for_each_other_at_its_site() -> None:
    def script(world: World) -> Process[None]:
        edge = world.sites["edge"]
        edge.hold(A, WEIGHTS)
        yield from join(
            world.env, [call(world, user, A, [edge], TOKEN, product, WEIGHTS, kind="x") for user in world.users]
        )

    rows = calls(ran(script))
    assert rows.wait_s.tolist() == pytest.approx([0, HALF_S["edge"]])
    assert (rows.end_s - rows.start_s).tolist() == pytest.approx(
        [BITS / UP_BPS + BITS / DOWN_BPS + HALF_S["edge"] * k for k in (1, 2)]
    )


def test_side_by_side_calls_join_when_the_last_is_in() -> None:
    """Both use the user's one radio: the message to the cloud goes first."""
    ends_s = []

    def script(world: World) -> Process[None]:
        user = world.users[0]
        for name, expert in (("cloud", A), ("edge", B)):
            world.sites[name].hold(expert, WEIGHTS)
        sites = [world.sites["cloud"], world.sites["edge"]]
        works = [call(world, user, expert, sites, TOKEN, product, WEIGHTS, kind="x") for expert in (A, B)]
        yield from join(world.env, works)
        ends_s.append(world.env.now)

    rows = calls(ran(script)).set_index("node")
    assert ends_s == [rows.end_s.max()]
    up_s, down_s = BITS / UP_BPS, BITS / DOWN_BPS
    assert rows.end_s["cloud"] == pytest.approx(up_s + 2 * PATHS_S["cloud"] + HALF_S["cloud"] + down_s)
    assert rows.end_s["edge"] == pytest.approx(2 * up_s + HALF_S["edge"] + down_s)


def test_a_call_that_is_given_up_leaves_a_row() -> None:
    """At 2 ms the first user's tokens are on their way to the cloud, and those of the second are being worked on."""

    def script(world: World) -> Process[None]:
        for name, expert in (("cloud", A), ("user1", B)):
            world.sites[name].hold(expert, WEIGHTS)
        sites = [world.sites["cloud"], world.sites["user1"]]
        works = [
            call(world, user, user_expert, sites, TOKEN, product, WEIGHTS, kind="x")
            for user, user_expert in zip(world.users, (A, B), strict=True)
        ]
        process = world.env.process(join(world.env, works))
        yield world.env.timeout(0.002)
        process.interrupt("late")
        with pytest.raises(simpy.Interrupt):
            yield process

    rows = calls(ran(script))
    assert rows.interrupted.tolist() == [True, True]
    assert rows.end_s.tolist() == [0.002, 0.002]
    assert rows.bits_down.tolist() == [0, 0]
    assert rows.service_s.isna().all()


def test_a_device_that_goes_away_ends_the_calls_of_others_and_drops_them_from_the_round() -> None:
    """User 1's device leaves at 2 ms, when it works on user 0's tokens; the call to the edge is over by then."""
    done: list[Any] = []

    def script(world: World) -> Process[None]:
        for name, expert in (("user1", A), ("edge", B)):
            world.sites[name].hold(expert, WEIGHTS)
        sites = [world.sites["user1"], world.sites["edge"]]
        owner: Any = world.sites["user1"].node
        owner.place.presence.steady = False

        def leave() -> Process[None]:
            yield world.env.timeout(0.002)
            owner.place.presence.leave("outage")

        world.env.process(leave())
        user = world.users[0]
        both = [call(world, user, each, sites, TOKEN, product, WEIGHTS, kind="x") for each in (A, B)]
        done.append((yield from gather(world, {user: join(world.env, both)})))
        done.append(world.env.now)

    rows = calls(ran(script)).set_index("node")
    assert done == [{}, 0.002]
    assert rows.interrupted.to_dict() == {"edge": False, "user1": True}
    assert rows.end_s["user1"] == 0.002


def read_by(told: str | None, stand_in: Any, executor: str = "dry") -> list[Tensor]:
    """What the second user reads of a product."""
    read: list[Tensor] = []

    def script(world: World) -> Process[None]:
        value = world.executor.submit(product, WEIGHTS, TOKEN)
        read.append((yield from world.users[1].read(value, stand_in)))
        assert world.env.now == 0

    ran(script, executor, told)
    return read


def test_a_read_value_is_what_torch_computes() -> None:
    for executor in ("batched", "eager"):
        (read,) = read_by(None, None, executor)
        assert torch.equal(read, TOKEN @ WEIGHTS)


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


def linear(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    return tokens @ weights["w"]


def test_a_layer_is_its_experts_and_steps_along_the_gradients_of_those_who_called_and_were_in_time() -> None:
    """User 0 has its tokens at expert 1 and at expert 2, user 1 all of its at expert 1, and is dropped afterwards."""
    told: dict[str, Any] = {}
    start = [{"w": WEIGHTS * (k + 1)} for k in range(3)]
    chosen = [torch.tensor([1, 2, 2, 1, 1, 2]), torch.ones(TOKENS, dtype=torch.int64)]
    pull = torch.linspace(1, 3, TOKENS * WIDTH).reshape(TOKENS, WIDTH)

    def script(world: World) -> Process[None]:
        layer = ExpertLayer(world, 0, [world.sites["edge"], world.sites["cloud"]], linear, start)
        for expert, site in enumerate(["edge", "edge", "cloud"]):
            layer.store(expert, world.sites[site])

        def work(user: Any) -> Process[Any]:
            routed = layer.route(user, chosen[user.number])
            return (yield from routed.forward(TOKEN)), (yield from routed.backward(pull))

        both = yield from join(world.env, [work(user) for user in world.users])
        layer.step(world.users[:1])
        told["done"], told["weights"] = world.executor.value(both), world.executor.value(layer.weights)
        told["optimiser"] = world.server_optimiser

    ran(script)
    weights = [each["w"].clone().requires_grad_() for each in start]
    tokens = TOKEN.clone().requires_grad_()
    outputs = torch.stack([tokens[i] @ weights[e] for i, e in enumerate(chosen[0].tolist())])
    outputs.backward(pull)
    torch.testing.assert_close(told["done"][0], (outputs.detach(), tokens.grad), rtol=1e-6, atol=1e-5)
    rate = told["optimiser"].learning_rate
    assert torch.equal(told["weights"][0]["w"], start[0]["w"])
    for expert in (1, 2):
        stepped = start[expert]["w"] - rate * weights[expert].grad
        torch.testing.assert_close(told["weights"][expert]["w"], stepped, rtol=1e-6, atol=1e-5)
