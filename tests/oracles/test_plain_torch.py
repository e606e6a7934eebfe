"""Training through the simulator equals a hand-written loop on the same batches, bit for bit where nothing is grouped.

With the batched executor it does so within rounding.
"""

import pytest
import torch
from by_hand import Plain, batch, by_samples, distance, epoch, mean, same_bits, split_step

from fakes import world
from learning.models import LeNet, Mlp, VggMini, Vit
from learning.optimisers import Sgd
from learning.participation import RoundRobinParticipation
from learning.schemes import SFL, SFLV1, SFLV2, SL, Centralised, FedAvg, FedProx, Local

pytestmark = pytest.mark.bits

ROUNDS, STEPS = 3, 2
SGD, SERVER_SGD = Sgd(0.2, 0.9, 1e-3), Sgd(0.1, 0.5)
MODELS = {"mlp": Mlp((12, 8)), "lenet": LeNet(), "vgg_mini": VggMini(), "vit": Vit(4, 16, 1, 2)}
SETTING = {
    "rounds": ROUNDS,
    "precision": torch.float32,
    "optimiser": SGD,
    "samples": [16, 40, 24],
    "flops_per_s": [1e6, 3e6, 2e6],
    "server_optimiser": SERVER_SGD,
}
model = pytest.mark.parametrize("model", MODELS)


def fedavg_by_hand(ran):
    users = {user: Plain(ran, ran.whole, SGD) for user in ran.users}  # momentum stays with the user
    weights = next(iter(users.values())).weights
    for number in range(ROUNDS):
        for user, plain in users.items():
            plain.load(weights)
            for step in range(STEPS):
                plain.step(*batch(ran, user, number * STEPS + step))
        weights = mean([plain.weights for plain in users.values()], by_samples(ran))
    return weights


def sfl_v1_by_hand(ran):
    fronts = {user: Plain(ran, ran.front, SGD) for user in ran.users}
    backs = {user: Plain(ran, ran.back, SERVER_SGD) for user in ran.users}
    shares = [1 / len(ran.users)] * len(ran.users)
    front, back = fronts[ran.users[0]].weights, backs[ran.users[0]].weights
    for number in range(ROUNDS):
        for user in ran.users:
            fronts[user].load(front)
            backs[user].load(back)
            for step in range(STEPS):
                split_step(fronts[user], backs[user], *batch(ran, user, number * STEPS + step))
        front = mean([fronts[user].weights for user in ran.users], shares)
        back = mean([backs[user].weights for user in ran.users], shares)
    return front | back


BY_HAND = {FedAvg(STEPS): fedavg_by_hand, SFLV1(STEPS): sfl_v1_by_hand}
scheme = pytest.mark.parametrize("scheme", BY_HAND, ids=lambda s: type(s).__name__)


@scheme
@model
def test_eager_bit_for_bit(scheme, model):
    ran = world(scheme, model=MODELS[model], **SETTING)
    assert same_bits(ran.model, BY_HAND[scheme](ran))


@scheme
@model
def test_batched_within_rounding(scheme, model):
    ran = world(scheme, model=MODELS[model], executor="batched", **SETTING)
    expected = BY_HAND[scheme](ran)
    assert distance(ran.model, expected) < 1e-4
    assert distance(ran.whole.initial(ran.streams), expected) > 100 * 1e-4  # it has moved far more than it may differ


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_wherever_the_model_is_cut(cut):
    ran = world(SFLV1(STEPS), model=MODELS["vgg_mini"], cut=cut, **SETTING)
    assert same_bits(ran.model, sfl_v1_by_hand(ran))


def test_fedprox_follows_the_gradient_of_its_penalty():
    """loss + mu/2 |w - w_t|^2 by autograd."""
    mu = 0.3
    ran = world(FedProx(STEPS, mu=mu), **{**SETTING, "precision": torch.float64})
    users = {user: Plain(ran, ran.whole, SGD) for user in ran.users}
    weights = next(iter(users.values())).weights
    for number in range(ROUNDS):
        for user, plain in users.items():
            plain.load(weights)
            for step in range(STEPS):
                x, y = batch(ran, user, number * STEPS + step)
                plain.optimiser.zero_grad()
                pulls = [((p - weights[name]) ** 2).sum() for name, p in plain.module.named_parameters()]
                (torch.nn.functional.cross_entropy(plain.module(x), y) + mu / 2 * sum(pulls)).backward()
                plain.optimiser.step()
        weights = mean([plain.weights for plain in users.values()], by_samples(ran))
    assert distance(ran.model, weights) < 1e-12


def test_split_learning_hands_the_model_on():
    """Users in turn: one device part, one server part, a momentum of each user's own."""
    ran = world(SL(STEPS, order="fixed"), **SETTING)
    fronts, back = {user: Plain(ran, ran.front, SGD) for user in ran.users}, Plain(ran, ran.back, SERVER_SGD)
    weights = fronts[ran.users[0]].weights
    for number in range(ROUNDS):
        for user in ran.users:
            fronts[user].load(weights)
            for step in range(STEPS):
                split_step(fronts[user], back, *batch(ran, user, number * STEPS + step))
            weights = fronts[user].weights
    assert same_bits(ran.model, weights | back.weights)


def test_split_learning_visits_in_random_orders():
    ran = world(SL(1), **{**SETTING, "users": 4, "samples": 16, "rounds": 8, "flops_per_s": 1e6})
    visits = [message.user for message in ran.journal.messages if message.kind == "activation"]
    orders = [tuple(visits[start : start + 4]) for start in range(0, 32, 4)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(set(orders)) > 2


@pytest.mark.parametrize("speeds", [[1e6, 3e6, 2e6], [3e6, 1e6, 2e6]])
def test_the_second_version_steps_in_order_of_arrival(speeds):
    """Fast devices first; each mini-batch meets the server part as its predecessor left it."""
    ran = world(SFLV2(1), **{**SETTING, "flops_per_s": speeds})
    fronts, back = {user: Plain(ran, ran.front, SGD) for user in ran.users}, Plain(ran, ran.back, SERVER_SGD)
    weights = fronts[ran.users[0]].weights
    arrivals = sorted(ran.users, key=lambda user: -speeds[user.number])
    for number in range(ROUNDS):
        for user in arrivals:
            fronts[user].load(weights)
            split_step(fronts[user], back, *batch(ran, user, number))
        weights = mean([fronts[user].weights for user in ran.users], [1 / 3] * 3)
    assert same_bits(ran.model, weights | back.weights)


@pytest.mark.parametrize("interval", [1, 2, None])
def test_joint_steps(interval):
    """The server steps on the mean gradient, devices on their own; their parts are averaged every `interval` rounds."""
    rounds = 4
    ran = world(SFL(interval), **{**SETTING, "rounds": rounds})
    fronts, back = {user: Plain(ran, ran.front, SGD) for user in ran.users}, Plain(ran, ran.back, SERVER_SGD)
    for number in range(rounds):
        if interval and number % interval == 0:
            common = mean([plain.weights for plain in fronts.values()], [1 / 3] * 3) if number else None
            for plain in fronts.values():
                plain.load(common or plain.weights)
        gradients = []
        for user, plain in fronts.items():
            x, y = batch(ran, user, number)
            plain.optimiser.zero_grad()
            z = plain.module(x)
            received = z.detach().requires_grad_()
            back.optimiser.zero_grad()
            torch.nn.functional.cross_entropy(back.module(received), y).backward()
            gradients.append({name: p.grad.clone() for name, p in back.module.named_parameters()})
            z.backward(received.grad)
            plain.optimiser.step()
        merged = mean(gradients, [1 / 3] * 3)
        for name, parameter in back.module.named_parameters():
            parameter.grad = merged[name]
        back.optimiser.step()
    own = [plain.weights for plain in fronts.values()]
    expected = own if interval is None else [mean(own, [1 / 3] * 3)]
    assert len(ran.every_model) == len(expected)
    for got, front in zip(ran.every_model, expected, strict=True):
        assert same_bits(got, front | back.weights)


def test_local_training_is_everybody_alone():
    """Two of three users train in each round, on models and momenta of their own that nobody else touches."""
    ran = world(Local(STEPS), **SETTING, participation=RoundRobinParticipation(2))
    users = [Plain(ran, ran.whole, SGD) for _ in ran.users]
    for number in range(ROUNDS):
        for place in (2 * number, 2 * number + 1):
            user = ran.users[place % 3]
            for step in range(STEPS):
                users[user.number].step(*batch(ran, user, number * STEPS + step))
    assert len(ran.every_model) == 3
    for got, plain in zip(ran.every_model, users, strict=True):
        assert same_bits(got, plain.weights)
    assert not ran.journal.messages
    assert sorted(work.node for work in ran.journal.works) == [0, 0, 1, 1, 2, 2]


def test_pooled_training():
    """A step a round on all users' samples in one shuffled data set: 80 of them in 24, 24, 24 and 8, then anew."""
    ran = world(Centralised(), **{**SETTING, "rounds": 6})
    plain = Plain(ran, ran.whole, SERVER_SGD)
    mini_batches = [each for number in range(2) for each in epoch(ran, 0, range(80), number, 3 * 8)][:6]
    assert [len(y) for _, y in mini_batches] == [24, 24, 24, 8, 24, 24]
    for x, y in mini_batches:
        plain.step(x, y)
    assert same_bits(ran.model, plain.weights)
