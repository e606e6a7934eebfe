"""HASFL: split federated learning in the limit, a plain loop otherwise, and its traffic.

Decisions are tested in test_hasfl_plans.py, the optimiser itself in tests/learning/test_control_cuts.py.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from by_hand import Plain, distance, epoch, mean, same_bits

from fakes import FakeWorld, world
from learning.control.cuts import CutChoice
from learning.control.cuts.controller import CutPlan, Fixed
from learning.models import Mlp
from learning.optimisers import Adam, Sgd
from learning.participation import RandomParticipation
from learning.policies import FirstK
from learning.protocols.split import CutLink
from learning.schemes import HASFL, SFL

THREE = Mlp((12, 8, 6))
SIZES = [64 * 12 + 12, 12 * 8 + 8, 8 * 6 + 6, 6 * 10 + 10]
WIDTHS = [12, 8, 6]
BLOCKS = len(SIZES)
UNEQUAL = (1, 3, 2)


@dataclass(frozen=True)
class Scripted:
    """Cuts by a list, one row for each interval."""

    cuts: tuple[tuple[int, ...], ...]
    interval: int = 1

    def plan(self, forecast, number):
        cuts = np.array(self.cuts[number])
        return CutPlan(CutChoice(forecast.batch_sizes, cuts), self.interval)


def up_to(blocks):
    """Scalars of the first so many blocks."""
    return sum(SIZES[:blocks])


# 9: equal cuts and mini-batches are the joint scheme; where every round aggregates, cuts do not matter at all.


@pytest.mark.parametrize("interval", [1, 3])
@pytest.mark.parametrize("optimiser", [Sgd(0.1), Sgd(0.1, 0.9, 1e-2), Adam(0.01)], ids=str)
def test_equal_cuts_and_batches_are_split_federated_learning(interval, optimiser):
    setting = {"optimiser": optimiser, "rounds": 7, "model": THREE, "cut": 2}
    plain = world(SFL(interval=interval), **setting)
    equal = world(HASFL(Fixed(), interval=interval), **setting)
    assert same_bits(equal.model, plain.model)
    assert equal.journal.evaluations == plain.journal.evaluations
    assert equal.journal.messages == plain.journal.messages
    assert equal.journal.works == plain.journal.works


@pytest.mark.parametrize("size", [8, None])
def test_the_same_with_unequal_data(size):
    """Users of 5, 16 and 27 samples: the scenario's mini-batch is their own, and smaller at the end of a pass."""
    setting = {"samples": [5, 16, 27], "batch_size": size, "rounds": 7, "model": THREE, "precision": torch.float32}
    plain, equal = (world(each, **setting) for each in (SFL(interval=2), HASFL(Fixed(), interval=2)))
    assert same_bits(equal.model, plain.model)
    assert equal.journal.messages == plain.journal.messages
    assert equal.journal.works == plain.journal.works


@pytest.mark.parametrize(("last", "taken"), [("keep", [5, 16, 20]), ("wrap", [20, 20, 20])])
def test_no_mini_batch_is_larger_than_the_data(last, taken):
    ran = world(HASFL(Fixed(batches=(20,))), samples=[5, 16, 27], last_batch=last, rounds=1, executor="dry")
    assert [value for _, _, name, value in ran.journal.decisions if name == "batch_size"] == taken
    assert [ran.journal.charged(node=user, kind="client_forward")[0] / (2 * 64 * 12) for user in range(3)] == taken


def test_the_same_with_some_users_in_an_interval():
    setting = {"participation": RandomParticipation(2), "users": 4, "rounds": 6, "precision": torch.float32}
    plain, equal = (world(each, **setting) for each in (SFL(interval=2), HASFL(Fixed(), interval=2)))
    assert same_bits(equal.model, plain.model)
    assert equal.journal.messages == plain.journal.messages


def test_the_same_where_the_slowest_user_is_dropped():
    """Within an interval too, when the model is evaluated as if all users asked were aggregated now."""
    setting = {"policy": FirstK(2), "flops_per_s": [1e6, 2e5, 2e6], "rounds": 5}
    plain, equal = (world(each, **setting) for each in (SFL(interval=3), HASFL(Fixed(), interval=3)))
    assert {dropped for _, _, dropped in equal.journal.rounds} == {1}
    assert equal.journal.evaluations == plain.journal.evaluations
    assert equal.journal.messages == plain.journal.messages


def test_cuts_do_not_matter_where_every_round_aggregates():
    setting = {"model": THREE, "optimiser": Sgd(0.1), "rounds": 4}
    equal, unequal, often = (
        world(HASFL(each), **setting)
        for each in (Fixed(cuts=(2,)), Fixed(cuts=UNEQUAL), Scripted(((1, 3, 2), (2, 1, 1), (3, 3, 1), (1, 1, 2))))
    )
    assert distance(equal.model, unequal.model) < 1e-10
    assert distance(equal.model, often.model) < 1e-10


# Between aggregations: own blocks descend along own gradients, common ones along the mean.


@pytest.mark.parametrize("executor", ["eager", "batched"])
@pytest.mark.parametrize("optimiser", [Sgd(0.1), Sgd(0.1, 0.9)], ids=str)
def test_it_is_a_plain_loop(optimiser, executor):
    """Seven rounds with an interval of three, so that the run ends within one."""
    rounds, interval, sizes = 7, 3, (3, 8, 5)
    controller = Fixed(batches=sizes, cuts=UNEQUAL)
    setting = {"model": THREE, "optimiser": optimiser, "rounds": rounds, "executor": executor}
    ran = world(HASFL(controller, interval=interval), **setting)
    copies = [Plain(ran, ran.whole, optimiser) for _ in ran.users]
    own = [name for name in copies[0].weights if int(name[0]) < 3]
    rows = [range(24 * user.number, 24 * user.number + 24) for user in ran.users]
    batches = [
        [each for turn in range(3) for each in epoch(ran, user.number, mine, turn, size)]
        for user, mine, size in zip(ran.users, rows, sizes, strict=True)
    ]  # of 24 samples: all of 3, all of 8, and in fives, the last of 4
    for number in range(rounds):
        for copy, mine in zip(copies, batches, strict=True):
            x, y = mine[number]
            copy.optimiser.zero_grad()
            F.cross_entropy(copy.module(x), y).backward()
        average(copies, [name for name in copies[0].weights if name not in own], gradients=True)
        for copy in copies:
            copy.optimiser.step()
        if (number + 1) % interval == 0:
            average(copies, own)
    average(copies, own)  # it is evaluated as if it were aggregated now
    assert distance(ran.model, copies[0].weights) < 1e-10
    joint = world(SFL(interval=interval), cut=3, **setting)
    assert distance(ran.model, joint.model) > 1e-3


def average(copies: list[Plain], names: list[str], *, gradients: bool = False) -> None:
    """Replace these parameters, or their gradients, by their mean."""
    for name in names:
        own = [copy.module.get_parameter(name) for copy in copies]
        tensors = [parameter.grad if gradients else parameter.data for parameter in own]
        tensors[0].copy_(torch.stack(tensors).mean(0))
        for tensor in tensors[1:]:
            tensor.copy_(tensors[0])


# 10: unequal mini-batches leave the direction of descent where it is.


def test_unequal_batches_are_unbiased():
    """Eight rounds are whole epochs of everybody, and weights hardly move: the mean step is the full gradient."""
    rate, samples, sizes = 1e-8, [8, 24, 40], (1, 3, 5)
    ran = world(HASFL(Fixed(batches=sizes, cuts=UNEQUAL)), model=THREE, optimiser=Sgd(rate), rounds=8, samples=samples)
    gradients = [full_gradient(ran, first, size) for first, size in zip((0, 8, 32), samples, strict=True)]
    start = ran.whole.initial(ran.streams, ran.precision)
    walked = {name: (start[name] - value) / (8 * rate) for name, value in ran.model.items()}
    assert distance(walked, mean(gradients, [1 / 3] * 3)) < 1e-6
    assert distance(walked, mean(gradients, [size / sum(sizes) for size in sizes])) > 1e-2


def full_gradient(ran: FakeWorld, first: int, size: int) -> dict[str, torch.Tensor]:
    plain = Plain(ran, ran.whole, Sgd(0.1))
    train = ran.dataset.train
    F.cross_entropy(plain.module(train.x[first : first + size]), train.y[first : first + size]).backward()
    return {name: p.grad for name, p in plain.module.named_parameters()}


# 11 and 12: bits.


@pytest.mark.parametrize("label", [64, 4])
def test_bits_of_rounds_and_intervals(label):
    sizes, q = (3, 8, 5), 64
    controller = Fixed(batches=sizes, cuts=UNEQUAL)
    journal = world(HASFL(controller, interval=2, link=CutLink(label_bits=label)), model=THREE, rounds=4).journal
    for user, (cut, size) in enumerate(zip(UNEQUAL, sizes, strict=True)):
        width = WIDTHS[cut - 1]
        assert journal.sent(user=user, kind="activation") == [size * (width * q + label)] * 4
        assert journal.sent(user=user, kind="gradient") == [size * width * q] * 4
        parts = [(m.round, m.direction, m.bits) for m in journal.messages if m.user == user and m.kind == "model"]
        delta = q * up_to(cut)
        assert parts == [(0, "down", delta), (1, "up", delta), (2, "down", delta), (3, "up", delta)]
    assert journal.sent(kind="migration") == []
    between = [bits for _, _, name, bits in journal.decisions if name == "between_servers_bits"]
    assert between == [2 * q * sum(up_to(3) - up_to(cut) for cut in UNEQUAL)] * 2
    assert sum(journal.sent(kind="model")) + sum(between) == 2 * (2 * 3 * q * up_to(3))


def test_migration():
    """A deeper cut brings what is new on the device, a shallower one nothing."""
    cuts = ((1, 3, 2), (3, 1, 2), (2, 2, 2), (2, 3, 1))
    journal = world(HASFL(Scripted(cuts, 2)), model=THREE, rounds=8).journal
    for user in range(3):
        moved = {m.round: m.bits for m in journal.messages if m.user == user and m.kind == "migration"}
        own = [row[user] for row in cuts]
        deeper = {2 * turn: 64 * (up_to(own[turn]) - up_to(own[turn - 1])) for turn in range(1, 4)}
        assert moved == {number: bits for number, bits in deeper.items() if bits > 0}
        down = [m.bits for m in journal.messages if m.user == user and m.kind == "model" and m.direction == "down"]
        kept = [own[0], *(min(own[turn - 1], own[turn]) for turn in range(1, 4))]
        assert down == [64 * up_to(cut) for cut in kept]


def test_a_device_computes_its_own_part_alone():
    journal = world(HASFL(Fixed(cuts=UNEQUAL)), model=THREE, rounds=1).journal
    for user, cut in enumerate(UNEQUAL):
        layers = [64, *WIDTHS][: cut + 1]
        forward = 2 * 8 * sum(a * b for a, b in pairwise(layers))
        assert journal.charged(node=user, kind="client_forward") == [forward]
