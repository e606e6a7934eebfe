"""A pass over a user's samples is a pass, not more: learnt, sent and charged for as often as there are samples."""

import re

import numpy as np
import pytest
import torch
from by_hand import Plain, by_samples, distance, epoch, mean, same_bits, split_step

from fakes import world
from learning import steps
from learning.local_training import ConstantEpochs, ListedEpochs, LocalTraining, UniformEpochs
from learning.models import Mlp, Vit
from learning.optimisers import Sgd
from learning.schemes import SFL, SFLV1, SL, FedAvg, FedProx, HSplitLoRA, Local
from runs import NEEDS, TINY, frame, run
from scenarios import load
from scenarios.build import build
from scenarios.errors import ScenarioError

SAMPLES = [5, 16, 27]
"""In eights: a part of one, two, three and a part."""
SGD = Sgd(0.1, 0.9, 1e-3)
MODELS = {"mlp": Mlp((12, 8)), "vit": Vit(4, 16, 1, 2)}
RAGGED = {"samples": SAMPLES, "precision": torch.float32, "optimiser": SGD, "rounds": 3}


def rows(user):
    return range(sum(SAMPLES[: user.number]), sum(SAMPLES[: user.number + 1]))


def fedavg_by_hand(ran, drop_last=False):
    """A pass of each user's torch DataLoader, then the mean by samples."""
    users = {user: Plain(ran, ran.whole, SGD) for user in ran.users}
    weights = next(iter(users.values())).weights
    for number in range(3):
        for user, plain in users.items():
            plain.load(weights)
            for x, y in epoch(ran, user.number, rows(user), number, 8, drop_last):
                plain.step(x, y)
        weights = mean([plain.weights for plain in users.values()], by_samples(ran))
    return weights


@pytest.mark.parametrize("model", MODELS)
def test_federated_averaging_is_a_pass_of_a_data_loader_bit_for_bit(model):
    ran = world(FedAvg(), model=MODELS[model], **RAGGED)
    assert same_bits(ran.model, fedavg_by_hand(ran))
    batched = world(FedAvg(), model=MODELS[model], executor="batched", **RAGGED)
    assert distance(batched.model, fedavg_by_hand(ran)) < 1e-4
    assert distance(ran.whole.initial(ran.streams), ran.model) > 100 * 1e-4  # it has moved far more than it may differ


def test_a_last_mini_batch_that_is_dropped():
    ran = world(FedAvg(), last_batch="drop", **{**RAGGED, "samples": [9, 16, 27], "rounds": 1})
    users = {user: Plain(ran, ran.whole, SGD) for user in ran.users}
    for user, plain in users.items():
        start = sum([9, 16, 27][: user.number])
        for x, y in epoch(ran, user.number, range(start, start + user.samples), 0, 8, drop_last=True):
            plain.step(x, y)
    assert same_bits(ran.model, mean([plain.weights for plain in users.values()], by_samples(ran)))


def test_split_learning_passes_bit_for_bit():
    ran = world(SFLV1(), **RAGGED)
    fronts, backs = ({user: Plain(ran, part, SGD) for user in ran.users} for part in (ran.front, ran.back))
    front, back = fronts[ran.users[0]].weights, backs[ran.users[0]].weights
    for number in range(3):
        for user in ran.users:
            fronts[user].load(front)
            backs[user].load(back)
            for x, y in epoch(ran, user.number, rows(user), number, 8):
                split_step(fronts[user], backs[user], x, y)
        front, back = (mean([part[user].weights for user in ran.users], [1 / 3] * 3) for part in (fronts, backs))
    assert same_bits(ran.model, front | back)


@pytest.mark.parametrize(
    "scheme", [FedAvg(), FedProx(mu=0.1), SFLV1(), SL(), SFL(), Local()], ids=lambda s: type(s).__name__
)
def test_unequal_mini_batches_are_grouped_by_shape_and_stay_what_they_are(scheme):
    """Ten users of three sizes, all together or each alone: the same to rounding, and grouped where they are alike."""
    setting = {"users": 10, "samples": [5, 16, 27, 5, 16, 27, 5, 16, 27, 16], "rounds": 2, "precision": torch.float64}
    alone, together = (world(scheme, executor=each, **setting) for each in ("eager", "batched"))
    for a, b in zip(alone.every_model, together.every_model, strict=True):
        assert distance(a, b) < 1e-12
    kind = {"FedAvg": "train", "FedProx": "train_proximal", "Local": "train"}.get(type(scheme).__name__)
    if kind:  # a user's whole pass is one operation: users with 5, 16 and 27 samples are three groups in each round
        assert {size: calls for (name, size), calls in together.executor.groups.items() if name == kind} == {3: 4, 4: 2}


def test_four_samples_in_mini_batches_of_thirty_two():
    """64 inputs, 64 units before the cut: a pass is 4 samples, in bits and in FLOPs."""
    result = run(
        network__users__count=1,
        learning__data={"name": "digits", "train_samples": 4},
        learning__partition="iid",
        learning__model={"name": "mlp", "hidden": [64, 64]},
        learning__batch_size=32,
        learning__stop__rounds=1,
    )
    transfers, computations = frame(result, "transfers"), frame(result, "computations")
    assert transfers[transfers.kind == "activation"].bits.tolist() == [4 * (64 * 32 + 64)] == [8448]
    assert computations[computations.kind == "client_forward"].flops.tolist() == [4 * 2 * 64 * 64] == [32768]


@pytest.mark.parametrize("size", [32, "all", 10_000])
def test_who_has_fewer_samples_sends_less(size):
    """Users with 1 and with 32 samples; a mini-batch that is larger than anybody's data is the whole data."""
    ran = world(SFLV1(), users=2, samples=[1, 32], batch_size=None if size == "all" else size, rounds=2)
    bits = [sum(ran.journal.sent(user=user, kind="activation")) for user in range(2)]
    assert bits[1] == 32 * bits[0] == 32 * 2 * (12 * 64 + 64)
    forward = [sum(ran.journal.charged(user=None, node=user, kind="client_forward")) for user in range(2)]
    assert forward[1] == 32 * forward[0] == 32 * 2 * 2 * 64 * 12


def test_all_samples_at_once_is_descent_along_the_full_gradient():
    """FedSGD: one step on each user's whole data is one on the data of all, in every epoch."""
    ran = world(FedAvg(), samples=SAMPLES, batch_size=None, rounds=4, optimiser=SGD)
    plain = Plain(ran, ran.whole, SGD)
    for _ in range(4):
        plain.step(ran.dataset.train.x[:48], ran.dataset.train.y[:48])
    assert distance(ran.model, plain.weights) < 1e-12


# How much a user trains in a round


def positions(training, turns=8, **setting):
    ran = world(FedAvg(1), rounds=1, executor="dry", **{"samples": SAMPLES, **setting})
    return [[training.positions(user, turn) for turn in range(turns)] for user in ran.users]


@pytest.mark.parametrize(
    "epochs",
    [
        ConstantEpochs(0.25),
        ConstantEpochs(0.3),
        ConstantEpochs(1),
        ConstantEpochs(2.5),
        ListedEpochs((0.5, 1, 3)),
        UniformEpochs(0.4, 2),
    ],
)
def test_so_many_passes_are_made(epochs):
    """Turn by turn each mini-batch once, at least one in a turn; altogether the passes, rounded up."""
    for user, turns in enumerate(positions(LocalTraining(local_epochs=epochs))):
        ran = world(FedAvg(1), rounds=1, executor="dry", samples=SAMPLES).users[user]
        passes = epochs.of(user, ran.batches.streams)
        taken = [position for turn in turns for position in turn]
        assert taken == list(range(len(taken)))
        assert all(turns)
        assert 0 <= len(taken) - 8 * max(passes * -(-SAMPLES[user] // 8), 1) < 1


def test_half_passes_see_every_sample_once_in_two_rounds():
    ran = world(FedAvg(local_epochs=ConstantEpochs(0.5)), samples=SAMPLES, rounds=2, executor="dry")
    flops = [sum(ran.journal.charged(node=user)) for user in range(3)]
    once = [
        world(FedAvg(), samples=SAMPLES, rounds=1, executor="dry").journal.charged(node=user)[0] for user in range(3)
    ]
    assert flops == [2 * once[0], once[1], once[2]]  # five samples are one mini-batch, and a round has one at least


def test_passes_of_each_user():
    ran = world(FedAvg(local_epochs=ListedEpochs((3, 1, 2))), samples=SAMPLES, rounds=1, executor="dry")
    one = [
        world(FedAvg(), samples=SAMPLES, rounds=1, executor="dry").journal.charged(node=user)[0] for user in range(3)
    ]
    assert [ran.journal.charged(node=user)[0] for user in range(3)] == [3 * one[0], one[1], 2 * one[2]]


def test_parts_of_a_pass_are_rounded_up_but_not_by_a_rounding_error():
    """In floating point 0.07 times 100 is a little more than 7."""
    hundred = world(FedAvg(1), users=1, samples=100, batch_size=1, rounds=1, executor="dry").users[0]
    training = LocalTraining(local_epochs=ConstantEpochs(0.07))
    assert [training.positions(hundred, turn) for turn in range(3)] == [range(0, 7), range(7, 14), range(14, 21)]


def test_steps_where_neither_is_given():
    """One pass; under HSplitLoRA the paper's twenty mini-batches."""
    user = world(FedAvg(1), samples=SAMPLES, rounds=1, executor="dry").users[2]
    assert FedAvg().positions(user, 2) == range(8, 12)
    assert HSplitLoRA().positions(user, 2) == range(40, 60)
    assert HSplitLoRA(local_epochs=ConstantEpochs(1)).positions(user, 2) == range(8, 12)
    assert HSplitLoRA(3).positions(user, 2) == range(6, 9)


def test_drawn_passes_are_the_users_own_and_stay():
    law = UniformEpochs(1, 5)
    streams = world(FedAvg(1), rounds=1, executor="dry").streams
    drawn = [law.of(user, streams) for user in range(400)]
    assert drawn == [law.of(user, streams) for user in range(400)]
    assert 1 <= min(drawn) < 1.1
    assert 4.9 < max(drawn) <= 5
    assert np.mean(drawn) == pytest.approx(3, abs=4 * (4 / 12**0.5) / 400**0.5)


def test_the_mean_loss_of_local_steps_is_that_of_a_sample():
    """With a step of length zero: mean over all samples, of which the last mini-batch has fewer."""
    ran = world(FedAvg(1), samples=SAMPLES, rounds=1)
    model, data = ran.whole.initial(ran.streams, torch.float64), ran.users[2].batches.stack(range(4))
    assert [len(stack.indices) for stack in data[0]] == [3, 1]
    stacks = [[stack.tensor() for stack in each] for each in data]
    _, _, loss = steps.train(ran.whole, Sgd(1e-300), model, (), *stacks)
    x, y = ran.dataset.train.x[21:48], ran.dataset.train.y[21:48]
    assert float(loss) == pytest.approx(float(steps.mean_loss(ran.whole(model, x), y)), rel=1e-12)


# Pooled data


def test_pooled_training_does_not_depend_on_the_partition():
    """One user with almost everything, or all with as much: the same model in every round."""
    setting = {"learning__scheme": "centralised", "learning__batch_size": 32, "learning__stop__rounds": 6}
    skewed = {"name": "quantity_skew", "alpha": 0.05, "min_samples": 1}
    alike, unequal = (run(learning__partition=each, **setting) for each in ("iid", skewed))
    assert sorted(frame(unequal, "users").samples) == [1, 16, 65, 78]
    assert alike.tables["evaluations"] == unequal.tables["evaluations"]
    assert alike.tables["computations"] == unequal.tables["computations"]


# What cannot be


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"learning.last_batch": "drop"}, "learning.last_batch: user 0 has 4 samples, fewer than a mini-batch of 8"),
        ({"learning.batch_size": "whole"}, 'found "whole"; a whole number >= 1, or all is allowed'),
        ({"learning.scheme.local_epochs": [1, 2]}, "local_epochs has 2 numbers, but there are 40 users"),
        ({"learning.scheme.local_epochs": 0}, "found 0; a number > 0 and <= 10000 is allowed"),
        (
            {"learning.scheme": {"name": "sl", "local_epochs": 1, "local_steps": 1}},
            "both given; one of them is allowed",
        ),
        ({"learning.scheme.local_epochs": {"name": "uniform", "low": 3, "high": 1}}, "must not exceed high"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(changed, sentence):
    setting = {"network.users.count": 40, "learning.partition": "iid", **changed}
    with pytest.raises(ScenarioError, match=re.escape(sentence)):
        build(load(TINY, setting))


@pytest.mark.parametrize("name", ["sfl_v2", "local", "sflam", "tsflora", "hetlora", "hsplitlora"])
def test_all_schemes_with_passes_look_at_how_many_users_there_are(name):
    setting = {**NEEDS.get(name, {}), "learning.scheme": {"name": name, "local_epochs": [1, 2]}}
    with pytest.raises(ScenarioError, match="local_epochs has 2 numbers, but there are 4 users"):
        build(load(TINY, setting))
