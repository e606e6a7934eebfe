"""Limits and closed forms of the shared baselines."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from by_hand import Plain, batch, by_samples, distance, mean, same_bits

from fakes import world
from learning.codecs import Uniform
from learning.models import Mlp, Vit
from learning.optimisers import Adam, Sgd
from learning.protocols.split import CutLink
from learning.schemes import PSL, SFL, SFLV1, SFLV2, SL, Centralised, FedAvg, FedProx

pytestmark = pytest.mark.bits

ROUNDS = 4
SGDS = [Sgd(0.1), Sgd(0.1, 0.9), Sgd(0.1, 0.9, 1e-2)]
ONE_USER = [SL(1), SFLV1(1), SFLV2(1), SFL(), SFL(interval=3), PSL(), FedAvg(1), FedProx(1, mu=0.0), Centralised()]

sgd = pytest.mark.parametrize("sgd", SGDS, ids=str)


def named(schemes):
    return pytest.mark.parametrize("scheme", schemes, ids=str)


def on_the_mean_gradient(ran, optimiser, shares):
    """Centralised descent along the weighted mean of the users' gradients."""
    plain = Plain(ran, ran.whole, optimiser)
    for number in range(ROUNDS):
        gradients = []
        for user in ran.users:
            x, y = batch(ran, user, number)
            plain.optimiser.zero_grad()
            torch.nn.functional.cross_entropy(plain.module(x), y).backward()
            gradients.append({name: p.grad.clone() for name, p in plain.module.named_parameters()})
        merged = mean(gradients, shares)
        for name, parameter in plain.module.named_parameters():
            parameter.grad = merged[name]
        plain.optimiser.step()
    return plain.weights


# 1: with one user all schemes are training of the unsplit model.


@named(ONE_USER)
@pytest.mark.parametrize("cut", [1, 2])
def test_one_user_trains_as_if_nothing_were_split(scheme, cut):
    optimiser = Sgd(0.1, 0.9, 1e-2)
    ran = world(scheme, users=1, rounds=ROUNDS, cut=cut, optimiser=optimiser)
    plain = Plain(ran, ran.whole, optimiser)
    for number in range(ROUNDS):
        plain.step(*batch(ran, ran.users[0], number))
    assert same_bits(ran.model, plain.weights)


# 2: with aggregation in every round the joint scheme is centralised descent, which a non-linear optimiser is not.


@sgd
@pytest.mark.parametrize("weights", ["uniform", "by_samples"])
def test_joint_steps_are_steps_on_the_mean_gradient(sgd, weights):
    ran = world(SFL(weighting=weights), users=4, samples=[8, 24, 40, 16], rounds=ROUNDS, optimiser=sgd)
    shares = by_samples(ran) if weights == "by_samples" else [0.25] * 4
    assert distance(ran.model, on_the_mean_gradient(ran, sgd, shares)) < 1e-10


def test_the_mean_gradient_is_that_of_the_pooled_batch():
    """With all data in each mini-batch the joint scheme is the centralised one, and FedAvg with one step too."""
    setting = {"rounds": ROUNDS, "batch_size": None, "samples": [1, 9, 30]}
    pooled = world(Centralised(), **setting).model
    assert distance(world(SFL(weighting="by_samples"), **setting).model, pooled) < 1e-12
    assert distance(world(FedAvg(1), **setting).model, pooled) < 1e-12
    assert distance(world(FedAvg(1, weighting="uniform"), **setting).model, pooled) > 1e-3


def test_adam_on_devices_is_not_adam_on_the_mean():
    pooled, joint = (world(scheme, rounds=ROUNDS, optimiser=Adam(0.01)).model for scheme in (Centralised(), SFL()))
    assert distance(pooled, joint) > 1e-4


@pytest.mark.parametrize("scheme", [SFL(interval=2), FedAvg(2), SFLV1(2)], ids=str)
def test_averaging_less_often_is_not_centralised(scheme):
    ran = world(scheme, rounds=ROUNDS, optimiser=Sgd(0.1))
    assert distance(ran.model, on_the_mean_gradient(ran, Sgd(0.1), [1 / 3] * 3)) > 1e-4


# 3: federated averaging with one step, and its proximal variant.


@sgd
def test_one_local_step_is_a_step_on_the_mean_gradient(sgd):
    ran = world(FedAvg(1), users=4, samples=[8, 24, 40, 16], rounds=ROUNDS, optimiser=sgd)
    assert distance(ran.model, on_the_mean_gradient(ran, sgd, by_samples(ran))) < 1e-10


def test_local_steps_default_to_one_pass():
    """24 samples in mini-batches of 8."""
    assert same_bits(world(FedAvg()).model, world(FedAvg(3)).model)
    assert same_bits(world(SFLV1()).model, world(SFLV1(3)).model)


def test_without_a_proximal_term_it_is_federated_averaging():
    assert same_bits(world(FedProx(mu=0.0)).model, world(FedAvg()).model)
    assert not same_bits(world(FedProx(mu=0.1)).model, world(FedAvg()).model)


def test_a_strong_proximal_term_ties_users_to_the_global_model():
    """|w - w_t| stays below |gradient| / mu if the step is smaller than 1 / mu; without the term it grows on."""
    setting = {"rounds": 1, "users": 2, "samples": 320}
    for mu, step in ((1e3, 5e-4), (1e6, 5e-7)):
        ran = world(FedProx(mu=mu, local_steps=40), optimiser=Sgd(step), **setting)
        start = ran.whole.initial(ran.streams, ran.precision)
        tied = distance(ran.model, start)
        free = distance(world(FedAvg(local_steps=40), optimiser=Sgd(step), **setting).model, start)
        assert 0 < tied < 1 / mu
        assert free > 5 * tied


# 4: parallel split learning is the joint scheme without aggregation.


def test_without_aggregation_it_is_parallel_split_learning():
    joint, parallel = world(SFL(interval=None)), world(PSL())
    assert all(same_bits(a, b) for a, b in zip(joint.every_model, parallel.every_model, strict=True))
    assert joint.journal.messages == parallel.journal.messages


def test_an_interval_longer_than_the_run_never_aggregates():
    ran, parallel = world(SFL(interval=9)), world(PSL())
    mine = mean(parallel.every_model, [1 / 3] * 3)
    assert distance(ran.model, mine) < 1e-12  # it is evaluated as if it were aggregated now


@pytest.mark.parametrize("weights", ["uniform", "by_samples"])
def test_within_an_interval_the_aggregate_counts_users_as_the_scheme_does(weights):
    setting = {"samples": [8, 24, 40], "rounds": 2}
    ran = world(SFL(interval=3, weighting=weights), **setting)
    parallel = world(PSL(weighting=weights), **setting)
    shares = by_samples(ran) if weights == "by_samples" else [1 / 3] * 3
    assert distance(ran.model, mean(parallel.every_model, shares)) < 1e-12
    assert distance(ran.model, mean(parallel.every_model, shares[::-1])) > 1e-4 or weights == "uniform"


@pytest.mark.parametrize("weights", ["uniform", "by_samples"])
def test_replicas_of_unequal_users_are_averaged_as_whole_models_are(weights):
    """Users with one, three and five mini-batches: device parts and replicas together are federated averaging."""
    setting = {"samples": [8, 24, 40], "rounds": 2, "optimiser": Sgd(0.1)}
    ran, whole = (world(scheme(weighting=weights), **setting) for scheme in (SFLV1, FedAvg))
    other = world(FedAvg(weighting="by_samples" if weights == "uniform" else "uniform"), **setting)
    for part in (ran.front.parameters(), ran.back.parameters()):
        split, same, different = ({name: each.model[name] for name in part} for each in (ran, whole, other))
        assert distance(split, same) < 1e-12
        assert distance(split, different) > 1e-4


def test_parallel_users_part_at_once():
    ran = world(PSL(), rounds=1)
    fronts = [{name: model[name] for name in ran.front.parameters()} for model in ran.every_model]
    backs = [{name: model[name] for name in ran.back.parameters()} for model in ran.every_model]
    assert len(fronts) == 3
    assert all(distance(a, b) > 1e-6 for i, a in enumerate(fronts) for b in fronts[:i])
    assert all(same_bits(a, b) for a, b in pairwise(backs))


def test_parallel_users_with_the_same_data_stay_together():
    ran = world(PSL(), parts=[np.full(24, 5)] * 3)
    assert all(same_bits(a, b) for a, b in pairwise(ran.every_model))
    assert distance(ran.every_model[0], ran.whole.initial(ran.streams, ran.precision)) > 1e-3


# 6: the second version depends on the order of arrival, the joint scheme does not.


def test_order_matters_where_the_server_steps_at_once():
    orders = [1e6, 2e6, 3e6], [3e6, 2e6, 1e6]

    def models(scheme):
        return [world(scheme, flops_per_s=speeds).model for speeds in orders]

    assert distance(*models(SFLV2(1))) > 1e-6
    for scheme in (SFL(), SFLV1(1), FedAvg(1), SL(1)):
        assert same_bits(*models(scheme))


# 7: bits, counted here from the sizes of the model.

INPUTS, CUT, HIDDEN, CLASSES, BATCH = 64, 12, 8, 10, 8
FRONT = INPUTS * CUT + CUT
BACK = CUT * HIDDEN + HIDDEN + HIDDEN * CLASSES + CLASSES
USERS = range(3)

precision = pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=str)


@named([SL(2), SFLV1(2), SFLV2(2), SFL(), PSL()])
@precision
@pytest.mark.parametrize("label", [64, 4])
def test_bits_of_a_step(scheme, precision, label):
    """Up: b (a q + label); down: b a q."""
    q = 8 * precision.itemsize
    journal = world(replace(scheme, link=CutLink(label_bits=label)), precision=precision).journal
    steps = 3 * getattr(scheme, "local_steps", 1)
    for user in USERS:
        assert journal.sent(user=user, kind="activation", direction="up") == [BATCH * (CUT * q + label)] * steps
        assert journal.sent(user=user, kind="gradient", direction="down") == [BATCH * CUT * q] * steps


def test_bits_of_a_coded_step():
    link = CutLink(activations=Uniform(8), gradients=Uniform(4))
    journal = world(SFL(link=link)).journal
    assert set(journal.sent(kind="activation")) == {8 * BATCH * CUT + 64 + 64 * BATCH}
    assert set(journal.sent(kind="gradient")) == {4 * BATCH * CUT + 64}


def test_tokens_count_too():
    """A transformer's smashed data are tokens x width."""
    journal = world(SFL(), model=Vit(4, 16, 1, 2), precision=torch.float32).journal
    assert set(journal.sent(kind="activation")) == {BATCH * (4 * 16 * 32 + 64)}


@precision
def test_bits_of_models(precision):
    q = 8 * precision.itemsize

    def weights(scheme):
        """(round, direction, bits) of the models that each user sends and receives."""
        messages = [m for m in world(scheme, rounds=4, precision=precision).journal.messages if m.kind == "model"]
        per_user = [[(m.round, m.direction, m.bits) for m in messages if m.user == user] for user in USERS]
        assert per_user[0] == per_user[1] == per_user[2]
        return per_user[0]

    def each(bits, down, up):
        return sorted([(n, "down", bits) for n in down] + [(n, "up", bits) for n in up])

    always = range(4)
    assert weights(FedAvg(2)) == weights(FedProx(2, mu=0.1)) == each((FRONT + BACK) * q, always, always)
    assert weights(SFLV1(2)) == weights(SFLV2(2)) == weights(SL(2)) == each(FRONT * q, always, always)
    assert weights(SFL()) == each(FRONT * q, always, always)
    assert weights(SFL(interval=2)) == each(FRONT * q, [0, 2], [1, 3])
    assert weights(PSL()) == each(FRONT * q, [0], [])


def test_the_centralised_bound_sends_nothing():
    assert world(Centralised()).journal.messages == []


def test_the_versions_differ_in_what_the_server_averages():
    """Equal messages; the first version also averages N replicas, at two FLOPs for each weight."""
    first, second = (world(scheme).journal for scheme in (SFLV1(2), SFLV2(2)))
    both = [sorted((m.round, m.user, m.direction, m.kind, m.bits) for m in j.messages) for j in (first, second)]
    assert both[0] == both[1]
    assert first.charged(kind="aggregation") == [2 * 3 * FRONT, 2 * 3 * BACK] * 3
    assert second.charged(kind="aggregation") == [2 * 3 * FRONT] * 3


def test_a_proximal_step_costs_two_more_flops_a_weight():
    plain, proximal = (
        world(scheme).journal.charged(kind="client_training") for scheme in (FedAvg(2), FedProx(2, mu=0.1))
    )
    assert [b - a for a, b in zip(plain, proximal, strict=True)] == [2 * 2 * (FRONT + BACK)] * 9
    plain, proximal = (
        world(scheme, samples=[5, 16, 27], rounds=1).journal.charged(kind="client_training")
        for scheme in (FedAvg(), FedProx(mu=0.1))
    )
    assert [b - a for a, b in zip(plain, proximal, strict=True)] == [2 * n * (FRONT + BACK) for n in (1, 2, 4)]


@named([SFL(), SFLV1(1), SFLV2(1), SL(1)])
def test_the_message_sequence(scheme):
    """What each user and the server do for it in a round, in this order."""
    journal = world(scheme, rounds=1).journal
    for user in USERS:
        own = [m for m in journal.messages if m.user == user] + [w for w in journal.works if user in (w.node, w.user)]
        assert [each.kind for each in sorted(own, key=lambda each: each.start_s)] == [
            "model",
            "client_forward",
            "activation",
            "server_step",
            "gradient",
            "client_backward",
            "model",
        ]


def test_models_have_the_sizes_counted_here():
    ran = world(SFL(), rounds=1, model=Mlp((CUT, HIDDEN)))
    assert (ran.front.parameter_count, ran.back.parameter_count) == (FRONT, BACK)
