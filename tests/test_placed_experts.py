"""Experts placed in a simulated network: the problem that a world poses, and simulated against predicted latency."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from learning.control.placement import (
    Activations,
    ExpertPlacement,
    PlacementProblem,
    deploy,
    problem_of,
    token_call,
)
from learning.control.placement.controller import Decomposed, Everywhere, Greedy, Listed, OnDevice
from learning.control.placement.usage import drawn
from learning.data import Digits
from learning.description import LearningDescription
from learning.ports import Process
from learning.protocols.expert_layer import ExpertLayer
from learning.routing import ZipfRouting
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
from netsim.geometry import Explicit, Stations
from netsim.radio.fading import NoFading
from netsim.radio.pathloss import FreeSpace
from netsim.radio.scheduling import EqualShares
from netsim.values import ConstantPerUser
from runs import frame
from scenarios import simulate
from scenarios.run import Result
from scenarios.schema import Scenario

WIDTH, EXPERTS, LAYERS = 16, 6, 2
EXPERT_BYTES = WIDTH * WIDTH * 4
FLOPS = 2 * WIDTH * WIDTH
UP_BITS, DOWN_BITS = WIDTH * 32 + 4 + 16 + 128, WIDTH * 32 + 128
"""Hidden state, name of one of 12 experts, weight and header; hidden state and header."""
TOKEN = torch.ones(1, 1, WIDTH)
STATIONS = ((0.0, 0.0), (400.0, 0.0))
USERS_AT = ((100.0, 0.0), (330.0, 0.0))


@dataclass(frozen=True)
class Scripted(Scheme):
    """A scheme whose one round does what a test says."""

    script: ClassVar[Callable[[World], Process[Any]]]

    def run(self, world: World) -> Process[None]:
        for _ in world.rounds():
            yield from Scripted.script(world)
            world.models(world.initial(world.whole))


def ran(
    script: Callable[[World], Process[Any]],
    users: int = 1,
    storage: float = 4,
    device_storage: float | None = None,
    backhaul: BackhaulDescription = BackhaulDescription(rate_bps=1e6, delay_s=0.001),  # noqa: B008  frozen
) -> Result:
    """Run a script in two cells without fading, with a server of storage for some experts in each, and a cloud."""
    Scripted.script = staticmethod(script)
    network = NetworkDescription(
        stations=StationsDescription(placement=Stations(STATIONS), height_m=5.0),
        users=UsersDescription(users, Explicit(USERS_AT[:users]), 5.0),
        channel=ChannelDescription(path_loss=FreeSpace(), fading=NoFading()),
        sharing=SharingDescription(BandDescription(1.0, EqualShares()), BandDescription(1.0, EqualShares())),
        backhaul=backhaul,
    )
    sites = {f"edge{n}": SiteDescription(1e7, station=n, storage_bytes=storage * EXPERT_BYTES) for n in (0, 1)}
    sites["cloud"] = SiteDescription(1e8, delay_s=0.05, slots=8)
    room = None if device_storage is None else ConstantPerUser(device_storage * EXPERT_BYTES)
    compute = ComputeDescription(DevicesDescription(ConstantPerUser(1e6), storage_bytes=room), sites=sites)
    learning = LearningDescription(Scripted(), Stop(rounds=1), Digits(train_samples=40, test_samples=40))
    return simulate(Scenario(network=network, compute=compute, learning=learning))


def product(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    return tokens @ weights["w"]


def placed(
    world: World, rule: ExpertPlacement, activations: Activations, tokens_per_s: float = 0.0
) -> tuple[list[ExpertLayer], PlacementProblem, np.ndarray]:
    """Two layers whose experts a rule has placed, the problem, and the placement."""
    edges, cloud = [world.sites["edge0"], world.sites["edge1"]], world.sites["cloud"]
    weights = [{"w": torch.full((WIDTH, WIDTH), float(e))} for e in range(EXPERTS)]
    layers = [ExpertLayer(world, n, [*edges, cloud], product, weights, layers=LAYERS) for n in range(LAYERS)]
    for layer in layers:
        for expert in range(EXPERTS):
            layer.store(expert, cloud)
    call = token_call(layers[0], TOKEN.to("meta"))
    problem = problem_of(
        world, layers, edges, cloud, call, activations, device_share=rule.device_share, tokens_per_s=tokens_per_s
    )
    return layers, problem, deploy(world, layers, edges, cloud, problem, rule)


def activations_of(world: World, top_k: int) -> Activations:
    numbers = [user.number for user in world.users]
    return drawn(ZipfRouting(1.0, own_ranks=True), world.streams, numbers, LAYERS, top_k, EXPERTS)


def called(world: World, layers: Sequence[ExpertLayer], problem: PlacementProblem, user: int) -> Process[float]:
    """A token for each set of experts in turn; returns the mean time by the probabilities of the sets."""
    total_s = 0.0
    for number, layer, experts, probability in zip(*problem.activations, strict=True):
        if number == user:
            begun_s = world.env.now
            gate = torch.ones(1, len(experts))
            routed = layers[layer].route(world.users[user], torch.tensor(experts)[None], gate)
            yield from routed.forward(TOKEN)
            total_s += probability * (world.env.now - begun_s)
    return total_s


@pytest.mark.parametrize("rule", [Greedy(), Decomposed(), Listed({}, device_share=0.25), OnDevice()], ids=repr)
def test_with_one_expert_a_token_a_user_alone_waits_exactly_as_predicted(rule: ExpertPlacement) -> None:
    told: list[float] = []

    def script(world: World) -> Process[None]:
        layers, problem, placement = placed(world, rule, activations_of(world, 1))
        told.append(problem.latency_s(placement))
        told.append((yield from called(world, layers, problem, 0)))

    result = ran(script)
    assert told[1] == pytest.approx(told[0], rel=1e-9)
    decided = frame(result, "decisions").set_index("name").value
    assert decided["predicted_latency_s"] == told[0]
    nothing_placed = isinstance(rule, Listed | OnDevice)
    assert (decided["predicted_latency_s"] == decided["unplaced_latency_s"]) == nothing_placed
    assert decided["predicted_latency_s"] <= decided["unplaced_latency_s"]


def test_with_several_the_shared_radio_makes_a_token_wait_longer_than_predicted() -> None:
    """Messages of a token share the radio and follow one another: reported, not part of T(X)."""
    told: list[float] = []

    def script(world: World) -> Process[None]:
        layers, problem, placement = placed(world, Decomposed(), activations_of(world, 2))
        told.append(problem.latency_s(placement))
        told.append((yield from called(world, layers, problem, 0)))

    ran(script)
    assert told[0] < told[1] < 2 * told[0]


def test_the_problem_is_that_of_the_world() -> None:
    """Storage in bytes, each user nearest to the server of its own cell, and a second hop to the other one."""
    seen: list[PlacementProblem] = []

    def script(world: World) -> Process[None]:
        seen.append(placed(world, Greedy(), activations_of(world, 2), tokens_per_s=3.0)[1])
        yield world.env.timeout(0)

    ran(script, users=2, device_storage=0)
    (problem,) = seen
    assert problem.size_bytes.tolist() == [[EXPERT_BYTES] * EXPERTS] * LAYERS
    assert problem.storage_bytes.tolist() == [4 * EXPERT_BYTES] * 2
    assert problem.nearest.tolist() == [0, 1]
    hop_s = (UP_BITS + DOWN_BITS) / 1e6 + 2 * 0.001  # there over one line between station and core, and back
    assert problem.server_s[0, 1] - problem.server_s[0, 0] == pytest.approx(2 * hop_s)
    cloud_s = problem.cloud_s[0] - problem.server_s[0, 0]
    assert cloud_s == pytest.approx(hop_s + 2 * 0.05 + FLOPS / 1e8 - FLOPS / 1e7)
    assert problem.device_s.tolist() == [FLOPS / 1e6] * 2
    assert problem.load is not None
    assert (problem.load.tokens_per_s, problem.load.expert_s.tolist()) == (3.0, [FLOPS / 1e7] * 2)
    assert not problem.held.any()


@pytest.mark.parametrize(("device_storage", "share", "held"), [(3, 0.5, 3), (9, 0.5, 6), (None, 0.25, 3), (9, 0, 0)])
def test_devices_hold_their_share_as_far_as_it_fits(device_storage: float | None, share: float, held: int) -> None:
    seen: list[Any] = []

    def script(world: World) -> Process[None]:
        _, problem, _ = placed(world, Greedy(device_share=share), activations_of(world, 1))
        seen.append(problem.held.sum(axis=(1, 2)).tolist())
        names = [(n, e) for n in range(LAYERS) for e in range(EXPERTS)]
        seen.append([sum(world.sites[f"user{u}"].holds(name) for name in names) for u in (0, 1)])
        yield world.env.timeout(0)

    ran(script, users=2, device_storage=device_storage)
    assert seen == [[held, held], [held, held]]


def test_experts_that_are_sent_are_held_when_they_have_arrived() -> None:
    """A message to each server, of the size of its experts, over the lines of cloud and station; the cloud serves until
    then."""
    told: list[bool] = []

    def script(world: World) -> Process[None]:
        rule = Listed({"edge0": ((0, 1), (0,)), "edge1": ((2,), ())}, deploy="sent")
        placed(world, rule, activations_of(world, 1))
        for until_s in (0.05 + 3 * EXPERT_BYTES * 8 / 1e6, 0.05 + 3 * EXPERT_BYTES * 8 / 1e6 + 0.002):
            yield world.env.timeout(until_s - world.env.now)
            told.append(world.sites["edge0"].holds((0, 1)))

    messages = frame(ran(script), "transfers").query("kind == 'expert'")
    assert told == [False, True]
    assert sorted(messages.bits) == [EXPERT_BYTES * 8] * 2 + [3 * EXPERT_BYTES * 8] * 2


def test_what_does_not_fit_is_refused() -> None:
    for rule, sentence in (
        (Everywhere(), "the experts placed at edge0 need 12288 bytes of storage, and it has 4096"),
        (Listed({"edge1": ((0, 1, 2),)}), "the experts placed at edge1 need 6144 bytes of storage, and it has 4096"),
        (OnDevice(), "all experts together need 12288 bytes of storage, and user 0 has less"),
    ):

        def script(world: World, rule: ExpertPlacement = rule) -> Process[None]:
            placed(world, rule, activations_of(world, 1))
            yield world.env.timeout(0)

        with pytest.raises(Exception, match=sentence):
            ran(script, device_storage=11)


def test_under_load_tokens_wait_longer_and_with_fewer_tokens_as_long_as_predicted() -> None:
    """Two users ask at random times, at a high and a low rate: the mean over 300 tokens, paired by the sets drawn."""
    means: dict[float, tuple[float, float]] = {}

    def at(rate: float) -> Callable[[World], Process[None]]:
        def script(world: World) -> Process[None]:
            layers, problem, placement = placed(world, Decomposed(), activations_of(world, 1))
            waits: list[float] = []
            predicted: list[float] = []
            access_s = problem.access_s(placement)

            def token(user: int, expert: int) -> Process[None]:
                begun_s = world.env.now
                routed = layers[0].route(world.users[user], torch.tensor([[expert]]), torch.ones(1, 1))
                yield from routed.forward(TOKEN)
                waits.append(world.env.now - begun_s)

            rng, running = np.random.default_rng(5), []
            for _ in range(300):
                yield world.env.timeout(rng.exponential(1 / rate))
                user, expert = 0, int(rng.integers(EXPERTS))
                predicted.append(access_s[user, 0, expert])
                running.append(world.env.process(token(user, expert)))
            yield world.env.all_of(running)
            means[rate] = float(np.mean(waits)), float(np.mean(predicted))

        return script

    for rate in (0.5, 20000.0):
        ran(at(rate), users=2)
    assert means[0.5][0] == pytest.approx(means[0.5][1], rel=0.01)
    assert means[0.5][0] >= means[0.5][1] * (1 - 1e-9)
    assert means[20000.0][0] > 1.5 * means[20000.0][1]
