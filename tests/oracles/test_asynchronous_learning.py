"""Asynchronous learning against a replay in plain torch: every gradient on exactly the weights that were downloaded.

The replay knows the times of messages and server jobs alone. It keeps every version of the server's model, gives each
user a copy of the one that there was when its download began, trains by a hand-written loop, and merges by formulas
written out here. Eager runs must agree with it bit for bit.
"""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from by_hand import Plain, Weights, batch, by_samples, distance, same_bits, split_step

from fakes import FakeWorld, world
from learning import steps
from learning.optimisers import Sgd
from learning.participation import RandomParticipation
from learning.parties import User
from learning.policies import Asynchronous, Buffered, WaitForAll
from learning.policies.staleness import ConstantWeight, Hinge, Polynomial
from learning.ports import Process
from learning.protocols.cohort import assemble
from learning.protocols.updates import merge
from learning.scheme import Scheme
from learning.schemes import PSL, SFLV1, SFLV2, FedAvg, FedProx
from learning.world import World

pytestmark = pytest.mark.bits

STEPS = 2
PASSES = ("forward", "backward")
SGD, SERVER_SGD = Sgd(0.2, 0.9, 1e-3), Sgd(0.1, 0.5)
SETTING: dict[str, Any] = {
    "users": 4,
    "rounds": 11,
    "precision": torch.float32,
    "optimiser": SGD,
    "server_optimiser": SERVER_SGD,
    "samples": [16, 40, 24, 32],
    "flops_per_s": [1e6, 3.1e6, 2.3e6, 0.4e6],
    "evaluate_every": 100,
}
POLICIES = {
    "constant": Asynchronous(0.7, ConstantWeight(0.9)),
    "polynomial": Asynchronous(0.6, Polynomial(0.5)),
    "hinge": Asynchronous(1.0, Hinge(2.0, 1)),
    "buffered": Buffered(2, 0.8, Polynomial(0.5)),
    "waiting": Buffered(3, 1.0, ConstantWeight(), waits=True),
}
named = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


@dataclass
class Turn:
    """From a download to the end of the upload that follows it."""

    user: User
    number: int
    start_s: float
    end_s: float


def turns(ran: FakeWorld) -> list[Turn]:
    """All turns that came to their end, by the times at which models arrived."""
    found = []
    for user in ran.users:
        models = [m for m in ran.journal.messages if m.user == user.number and m.kind == "model"]
        begun = [m.start_s for m in models if m.direction == "down"]
        ended = [m.end_s for m in models if m.direction == "up" and m.end_s is not None]
        found += [Turn(user, n, *times) for n, times in enumerate(zip(begun, ended, strict=False))]
    return sorted(found, key=lambda turn: turn.end_s)


def mini_batches(ran: FakeWorld) -> list[Turn]:
    """Where a turn is a mini-batch and no model is uploaded: from a forward pass to the end of the backward pass."""
    found = []
    for user in ran.users:
        works = [[w for w in ran.journal.works if (w.node, w.kind) == (user.number, f"client_{way}")] for way in PASSES]
        done = [(one.start_s, two.end_s) for one, two in zip(*works, strict=False) if two.end_s is not None]
        found += [Turn(user, number, *times) for number, times in enumerate(done)]
    return sorted(found, key=lambda turn: turn.end_s)


def update_times_s(ran: FakeWorld) -> list[float]:
    """When the server had each of its models ready."""
    jobs = [work for work in ran.journal.works if work.kind == "aggregation"]
    return [max(job.end_s for job in jobs if job.round == number) for number in range(len(ran.journal.rounds))]


def version(ran: FakeWorld, instant_s: float) -> int:
    """How many updates there had been at an instant."""
    return sum(end_s <= instant_s for end_s in update_times_s(ran))


class Users:
    """Every user's own modules, whose momentum stays with it."""

    def __init__(self, ran: FakeWorld) -> None:
        self.ran = ran
        self.whole = {user: Plain(ran, ran.whole, SGD) for user in ran.users}
        self.fronts = {user: Plain(ran, ran.front, SGD) for user in ran.users}
        self.backs = {user: Plain(ran, ran.back, SERVER_SGD) for user in ran.users}

    def train(self, turn: Turn, base: Weights) -> Weights:
        plain = self.whole[turn.user]
        plain.load(base)
        for step in range(STEPS):
            plain.step(*batch(self.ran, turn.user, turn.number * STEPS + step))
        return plain.weights

    def train_split(self, turn: Turn, base: Weights) -> Weights:
        front, back = self.fronts[turn.user], self.backs[turn.user]
        front.load({name: base[name] for name in front.weights})
        back.load({name: base[name] for name in back.weights})
        for step in range(STEPS):
            split_step(front, back, *batch(self.ran, turn.user, turn.number * STEPS + step))
        return front.weights | back.weights

    def train_server_part(self, turn: Turn, base: Weights) -> Weights:
        """One mini-batch; the device part is the user's own for ever."""
        front, back = self.fronts[turn.user], self.backs[turn.user]
        back.load(base)
        split_step(front, back, *batch(self.ran, turn.user, turn.number))
        return back.weights


def share(policy: Any, staleness: int) -> float:
    """s(staleness), by the formulas of the papers."""
    law = policy.staleness
    if isinstance(law, ConstantWeight):
        return law.value
    if isinstance(law, Polynomial):
        return 1 / (staleness + 1) ** law.exponent
    return 1.0 if staleness <= law.bound else 1 / (law.slope * (staleness - law.bound) + 1)


def replay(ran: FakeWorld, policy: Any, train: str, alike: bool) -> tuple[Weights, list[float]]:
    """The server's last model, and the mean staleness of each update."""
    users, split = Users(ran), train == "train_server_part"
    arrived = mini_batches(ran) if split else turns(ran)
    size = policy.size if isinstance(policy, Buffered) else 1
    versions, staleness = [Plain(ran, ran.back if split else ran.whole, SGD).weights], []
    for number in range(len(ran.journal.rounds)):
        some = arrived[number * size : (number + 1) * size]
        downloaded = [version(ran, turn.start_s) for turn in some]
        trained = {
            (turn.user.number, turn.number): (getattr(users, train)(turn, versions[age]), versions[age], number - age)
            for turn, age in zip(some, downloaded, strict=True)
        }
        ordered = [(user, *trained[user, turn]) for user, turn in sorted(trained)]
        samples = [1 if alike else ran.users[user].samples for user, *_ in ordered]
        versions.append(merged(policy, versions[-1], ordered, [one / sum(samples) for one in samples]))
        staleness.append(sum(ages := [age for *_, age in ordered]) / len(ages))
    return versions[-1], staleness


def merged(policy: Any, model: Weights, trained: list[Any], weights: list[float]) -> Weights:
    out = {}
    for name, value in model.items():
        if isinstance(policy, Asynchronous):
            ((_, new, _, age),) = trained
            a = policy.mixing * share(policy, age)
            out[name] = (1 - a) * value + a * new[name]
            continue
        factors = [policy.server_rate * q * share(policy, age) for q, (*_, age) in zip(weights, trained, strict=True)]
        steps = [(new[name] - base[name]) * f for f, (_, new, base, _) in zip(factors, trained, strict=True)]
        out[name] = value + sum(steps[1:], start=steps[0])
    return out


@named
def test_federated_bit_for_bit(policy: Any) -> None:
    ran = world(FedAvg(STEPS), policy=policy, **SETTING)
    model, staleness = replay(ran, policy, "train", alike=False)
    assert same_bits(ran.model, model)
    assert ran.journal.staleness == pytest.approx(staleness, abs=1e-12)
    assert max(staleness) > 0.5  # there was something to get wrong


@named
def test_split_bit_for_bit(policy: Any) -> None:
    """The device part and the replica that a turn begins with are of one version."""
    ran = world(SFLV1(STEPS), policy=policy, **SETTING)
    model, staleness = replay(ran, policy, "train_split", alike=True)
    assert same_bits(ran.model, model)
    assert ran.journal.staleness == pytest.approx(staleness, abs=1e-12)


@named
def test_parallel_split_bit_for_bit(policy: Any) -> None:
    ran = world(PSL(), policy=policy, **SETTING)
    back, staleness = replay(ran, policy, "train_server_part", alike=True)
    for model in ran.every_model:
        assert same_bits({name: model[name] for name in back}, back)
    assert ran.journal.staleness == pytest.approx(staleness, abs=1e-12)
    fronts = [{name: value for name, value in model.items() if name not in back} for model in ran.every_model]
    assert all(distance(fronts[0], other) > 1e-3 for other in fronts[1:])


@named
def test_batched_within_rounding(policy: Any) -> None:
    ran = world(FedAvg(STEPS), policy=policy, executor="batched", **SETTING)
    assert distance(ran.model, replay(ran, policy, "train", alike=False)[0]) < 1e-4


def test_some_of_all_at_a_time() -> None:
    policy = Buffered(2, waits=False)
    ran = world(FedAvg(STEPS), policy=policy, participation=RandomParticipation(2), **SETTING)
    assert same_bits(ran.model, replay(ran, policy, "train", alike=False)[0])
    assert len({turn.user for turn in turns(ran)}) == 4


@pytest.mark.parametrize("policy", [POLICIES["polynomial"], POLICIES["buffered"]], ids=["asynchronous", "buffered"])
def test_arrivals_queue_before_a_slow_server(policy: Any) -> None:
    """While an update is under way others arrive: first come, first merged, and stale by one more."""
    ran = world(FedAvg(STEPS), policy=policy, server_flops_per_s=8e4, **SETTING)
    model, staleness = replay(ran, policy, "train", alike=False)
    assert same_bits(ran.model, model)
    assert ran.journal.staleness == pytest.approx(staleness, abs=1e-12)
    ends_s, arrived = update_times_s(ran), turns(ran)
    merging = 4 * ran.whole.parameter_count / 8e4
    assert any(sum(end_s - merging < turn.end_s < end_s for turn in arrived) > 1 for end_s in ends_s)


def witness(ran: FakeWorld, user: User) -> list[tuple[str, int]]:
    """What `decisions` says of a user's weights, in the order in which it was written."""
    return [(name, int(value)) for _, whose, name, value in ran.journal.decisions if whose == user.number]


@pytest.mark.parametrize("executor", ["batched", "dry"])
@pytest.mark.parametrize("policy", [POLICIES["polynomial"], POLICIES["buffered"]], ids=["asynchronous", "buffered"])
@pytest.mark.parametrize(
    "scheme", [FedAvg(1), FedProx(1, mu=0.1), SFLV1(2), SFLV2(2), PSL()], ids=lambda s: type(s).__name__
)
def test_weights_used_are_the_weights_downloaded(scheme: Any, executor: str, policy: Any) -> None:
    ran = world(scheme, policy=policy, executor=executor, **SETTING)
    names, ended_turns = {}, mini_batches(ran) if isinstance(scheme, PSL) else turns(ran)
    for user in ran.users:
        rows = witness(ran, user)
        ended = sum(turn.user is user for turn in ended_turns)
        assert [name for name, _ in rows[: 2 * ended]] == ["weights_downloaded", "weights_used"] * ended
        for turn, (_, downloaded), (_, used) in zip(range(ended), rows[::2], rows[1::2], strict=False):
            assert downloaded == used
            names[user.number, turn] = downloaded
    own = {(turn.user.number, turn.number): version(ran, turn.start_s) for turn in ended_turns}
    known = {own[key]: name for key, name in names.items()}
    assert all(known[own[key]] == name for key, name in names.items())  # one name a version, told from the times alone
    assert len(set(known.values())) == len(known) > 3


@dataclass(frozen=True)
class Newest(Scheme):
    """Federated averaging done wrong: a user trains on what the server has by then, not on what it downloaded."""

    def run(self, world: World) -> Process[None]:
        newest = [world.initial(world.whole)]
        right = FedAvg(STEPS)

        def work(user: User, turn: int, model: Any) -> Process[Any]:
            yield from world.server.send(user, model, "model")
            yield from user.node.compute(1e5, "preparation")
            stacked = user.batches.stack(range(turn * STEPS, (turn + 1) * STEPS))
            job = (steps.train, world.whole, world.optimiser, newest[-1], world.optimiser.init(newest[0]), *stacked)
            model, _, _ = yield from user.do(*job, kind="client_training")
            return (yield from user.send(world.server, model, "model"))

        cohort = assemble(world, work)
        for number in world.rounds():
            updates = yield from cohort.updates(number, newest[-1])
            newest.append((yield from merge(world, newest[-1], updates, right.weighting)))
            world.models(newest[-1])


def test_training_on_newer_weights_is_found_out() -> None:
    """By the witness, and by the replay."""
    policy = POLICIES["polynomial"]
    ran = world(Newest(), policy=policy, **{**SETTING, "optimiser": Sgd(0.2)})
    wrong = [
        user.number
        for user in ran.users
        for (_, downloaded), (_, used) in zip(*[iter(witness(ran, user))] * 2, strict=False)
        if downloaded != used
    ]
    assert len(wrong) > 5
    honest = world(FedAvg(STEPS), policy=policy, **SETTING)
    assert not same_bits(ran.model, replay(honest, policy, "train", alike=False)[0])


def test_a_buffer_of_everybody_that_waits_is_a_joint_step() -> None:
    """With plain SGD: x + sum q ((x - a g_k) - x) = x - a sum q g_k."""
    setting = {**SETTING, "precision": torch.float64, "optimiser": Sgd(0.2), "server_optimiser": Sgd(0.1)}
    apart, joint = (
        world(PSL("by_samples"), policy=policy, **setting) for policy in (Buffered(4, waits=True), WaitForAll())
    )
    for one, other in zip(apart.every_model, joint.every_model, strict=True):
        assert distance(one, other) < 1e-13
    bits = [sorted((m.direction, m.user, m.bits, m.kind) for m in ran.journal.messages) for ran in (apart, joint)]
    assert bits[0] == bits[1]


def test_one_user_that_replaces_the_model_is_sequential_descent() -> None:
    """x <- 0 x + 1 x_new, without anybody else: plain SGD, mini-batch after mini-batch, bit for bit."""
    ran = world(FedAvg(STEPS), policy=Asynchronous(1.0), **{**SETTING, "users": 1, "samples": 40, "flops_per_s": 1e6})
    plain = Plain(ran, ran.whole, SGD)
    for position in range(11 * STEPS):
        plain.step(*batch(ran, ran.users[0], position))
    assert same_bits(ran.model, plain.weights)
    assert ran.journal.staleness == [0.0] * 11


@pytest.mark.parametrize("scheme", [FedAvg(STEPS), SFLV1(STEPS)], ids=lambda s: type(s).__name__)
def test_a_buffer_of_everybody_that_waits_is_federated_averaging(scheme: Any) -> None:
    """x + sum q (x_k - x) = sum q x_k within rounding; messages and jobs of devices are the same, bit for bit."""
    setting = {**SETTING, "precision": torch.float64}
    ran = world(scheme, policy=Buffered(4, waits=True), **setting)
    plain = world(scheme, **setting)
    assert distance(ran.model, plain.model) < 1e-13
    assert distance(ran.whole.initial(ran.streams), plain.model) > 0.1
    assert ran.journal.staleness == [0.0] * 11
    bits = [(m.direction, m.user, m.bits, m.kind, m.round) for m in ran.journal.messages]
    assert sorted(bits, key=str) == sorted(
        ((m.direction, m.user, m.bits, m.kind, m.round) for m in plain.journal.messages), key=str
    )
    assert sum(by_samples(ran)) == pytest.approx(1)
