"""FedSL-PQ: its limits, its quantised gradients and its dropout. Masks and averages: test_fedsl_pq_masks.py."""

import pytest
import torch
from by_hand import Plain, batch, distance, flat, same_bits
from watching import NOTHING, watch

from fakes import world
from learning.codecs import Uniform
from learning.models import LeNet, Mlp
from learning.optimisers import Sgd
from learning.reducers import CubicRamp, Dropout
from learning.schemes import SFL, SFLV1, FedSLPQ
from learning.schemes.fedsl_pq import operators

HALF = CubicRamp(final=0.5)
PLAIN_SGD = Sgd(0.1)


# 1: without its operators it is split federated learning.


@pytest.mark.parametrize("interval", [1, 2, 3])
@pytest.mark.parametrize("optimiser", [Sgd(0.1), Sgd(0.1, 0.9, 1e-2)], ids=str)
@pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=str)
def test_without_operators_it_is_split_federated_learning(interval, optimiser, precision):
    setting = {"optimiser": optimiser, "precision": precision, "rounds": 6, "model": LeNet()}
    plain = world(SFL(interval=interval), **setting)
    bare = world(FedSLPQ(interval=interval, **NOTHING), **setting)
    assert same_bits(bare.model, plain.model)
    assert bare.journal.series("loss") == pytest.approx(plain.journal.series("loss"), rel=1e-12)


@pytest.mark.parametrize("interval", [1, 3])
def test_with_server_replicas_it_is_the_first_version(interval):
    """A round of version 1 is an interval here."""
    replicas = FedSLPQ(interval=interval, server_mode="per_client", **NOTHING)
    ours = world(replicas, rounds=2 * interval, samples=[8, 16, 40])
    theirs = world(SFLV1(interval, weighting="by_samples"), rounds=2, samples=[8, 16, 40])
    assert distance(ours.model, theirs.model) < 1e-12
    synced = world(FedSLPQ(interval=interval, **NOTHING), rounds=2 * interval, samples=[8, 16, 40])
    assert distance(ours.model, synced.model) > 1e-6


@pytest.mark.parametrize("server_mode", ["synced", "per_client"])
def test_one_user_trains_as_if_nothing_were_split(server_mode):
    sgd = Sgd(0.1, 0.9)
    ran = world(FedSLPQ(interval=2, server_mode=server_mode, **NOTHING), users=1, rounds=5, optimiser=sgd)
    plain = Plain(ran, ran.whole, sgd)
    for number in range(5):
        plain.step(*batch(ran, ran.users[0], number))
    assert same_bits(ran.model, plain.weights)


@pytest.mark.parametrize(
    "operator", [{"pruning_rate": HALF}, {"gradient_bits": 2}, {"dropout": Dropout(0.3)}], ids=lambda o: next(iter(o))
)
def test_each_operator_changes_what_is_learnt(operator):
    assert distance(world(FedSLPQ(interval=2, **NOTHING | operator)).model, world(SFL(interval=2)).model) > 1e-4


# 2: quantised gradients. For a plain step the quantised gradient can be read from the weights.


def quantised(update, rate=PLAIN_SGD.learning_rate):
    """(masked gradient, quantised gradient, step of the quantiser) of each tensor, where the mask keeps it."""
    weights, _, gradients = update["result"]
    levels = update["codec"].largest
    for name, before in update["weights"].items():
        keep = update["mask"][name]
        true = gradients[name] * keep
        scale = (true.max() - true.min()) / levels
        yield true[keep] - true.min(), (before - weights[name])[keep] / rate - true.min(), scale


def rounding_errors(watched):
    """Sum of the errors and of their squares, and the variance that stochastic rounding has: s^2 f (1 - f)."""
    total = squares = variance = 0.0
    for update in (update for some in watched.updates() for update in some):
        for true, coarse, scale in quantised(update):
            fraction = (true / scale) % 1
            total += float((coarse - true).sum())
            squares += float(((coarse - true) ** 2).sum())
            variance += float((scale**2 * fraction * (1 - fraction)).sum())
    return total, squares, variance


@pytest.mark.parametrize("bits", [2, 5])
def test_gradients_lie_on_the_quantisers_levels(bits, monkeypatch):
    watched = watch(monkeypatch, FedSLPQ(interval=2, gradient_bits=bits), optimiser=PLAIN_SGD)
    for update in (update for some in watched.updates() for update in some):
        for true, coarse, scale in quantised(update):
            assert ((coarse / scale - (coarse / scale).round()).abs() < 1e-6).all()
            assert (coarse / scale).min() > -1e-6
            assert (coarse / scale).max() < 2**bits - 1 + 1e-6
            assert ((coarse - true).abs() <= scale * (1 + 1e-9)).all()


@pytest.mark.parametrize("bits", [2, 8])
def test_rounding_is_unbiased_with_the_exact_variance(bits, monkeypatch):
    setting = {"optimiser": PLAIN_SGD, "rounds": 12, "model": Mlp((40,))}
    total, squares, variance = rounding_errors(watch(monkeypatch, FedSLPQ(gradient_bits=bits), **setting))
    assert abs(total) < 4 * variance**0.5
    assert squares / variance == pytest.approx(1, abs=0.02)  # some 50,000 entries


def test_rounding_down_would_be_noticed(monkeypatch):
    """Mutation: floor instead of stochastic rounding."""
    stochastic = Uniform.codes
    monkeypatch.setattr(Uniform, "codes", lambda self, x, u: stochastic(self, x, torch.ones_like(u)))
    total, _, variance = rounding_errors(watch(monkeypatch, FedSLPQ(gradient_bits=8), optimiser=PLAIN_SGD))
    assert abs(total) > 20 * variance**0.5


def test_no_two_roundings_share_their_noise(monkeypatch):
    watched = watch(monkeypatch, FedSLPQ())
    noises = [flat(update["noise"]) for some in watched.updates() for update in some]
    assert not any(torch.equal(noises[i], noises[j]) for i in range(len(noises)) for j in range(i))


def test_quantised_cut_gradients(monkeypatch):
    """On the kept positions within their range and on its levels, unbiased; zero elsewhere."""
    dropout, bits = Dropout(0.4), 3
    scheme = FedSLPQ(dropout=dropout, gradient_bits=bits, quantise_cut_gradient=True, pruning_rate=CubicRamp())
    watched = watch(monkeypatch, scheme, rounds=30)
    total = variance = 0.0
    for call in watched.calls["transcode"]:
        keep = call["codec"].first.u >= dropout.rate
        sent, got = call["tree"][keep], call["result"]
        scale = (sent.max() - sent.min()) / (2**bits - 1)
        assert (got[~keep] == 0).all()
        assert sent.min() - 1e-12 <= got[keep].min() <= got[keep].max() <= sent.max() + 1e-12
        assert len(((got[keep] - sent.min()) / scale).round(decimals=6).unique()) <= 2**bits
        assert ((got[keep] - sent).abs() <= scale * (1 + 1e-9)).all()
        fraction = ((sent - sent.min()) / scale) % 1
        total += float((got[keep] - sent).sum())
        variance += float((scale**2 * fraction * (1 - fraction)).sum())
    assert len(watched.calls["transcode"]) == 90
    assert abs(total) < 4 * variance**0.5
    received = [update["dz"] for some in watched.updates() for update in some]
    assert all(any(torch.equal(dz, call["result"]) for call in watched.calls["transcode"]) for dz in received)


# 4: dropout.


def test_dropout_in_the_forward_pass(monkeypatch):
    dropout = Dropout(0.4)
    watched = watch(monkeypatch, FedSLPQ(dropout=dropout), rounds=5)
    for some in watched.forwards():
        for call in some:
            dense = call["segment"](call["weights"], call["x"])
            keep = call["u"] >= 0.4
            torch.testing.assert_close(call["result"], torch.where(keep, dense / 0.6, 0), rtol=1e-12, atol=0)
    draws = [call["u"] for call in watched.calls["front"]]
    assert not any(torch.equal(draws[i], draws[j]) for i in range(len(draws)) for j in range(i))


def dropout_gradients(monkeypatch):
    """Pairs of the gradients that the scheme has seen, and those of the dropped-out network by autograd."""
    watched = watch(monkeypatch, FedSLPQ(interval=2, dropout=Dropout(0.4), pruning_rate=HALF))
    for update in (update for some in watched.updates() for update in some):
        leaves = {name: value.clone().requires_grad_() for name, value in update["weights"].items()}
        z = update["segment"](leaves, update["x"]) * (update["u"] >= 0.4) / 0.6
        (z * update["dz"]).sum().backward()
        yield update["result"][2], {name: leaf.grad for name, leaf in leaves.items()}


def test_the_same_dropout_in_the_backward_pass(monkeypatch):
    pairs = list(dropout_gradients(monkeypatch))
    assert len(pairs) == 9
    assert all(distance(seen, expected) < 1e-12 < float(flat(seen).abs().max()) for seen, expected in pairs)


def test_a_forgotten_scale_would_be_noticed(monkeypatch):
    """Mutation: without the factor 1 / (1 - p)."""
    monkeypatch.setattr(Dropout, "apply", lambda self, z, mask: z * mask)
    assert all(distance(seen, expected) > 1e-6 for seen, expected in dropout_gradients(monkeypatch))


def test_gradients_of_dropped_activations_do_not_matter(monkeypatch):
    """What is not sent cannot be needed: another value there, and the update is the same."""
    original = operators.update
    update = watch(monkeypatch, FedSLPQ(dropout=Dropout(0.4)), rounds=1).calls["update"][0]
    other = {**update, "dz": torch.where(update["u"] >= 0.4, update["dz"], 1e3)}
    del other["result"]
    assert all(same_bits(a, b) for a, b in zip(original(*other.values())[::2], update["result"][::2], strict=True))


def test_evaluation_drops_nothing(monkeypatch):
    ran = watch(monkeypatch, FedSLPQ(interval=1, dropout=Dropout(0.9)), rounds=3).ran
    logits = ran.whole(ran.model, ran.dataset.test.x)
    loss = torch.nn.functional.cross_entropy(logits, ran.dataset.test.y)
    assert ran.journal.series("loss")[-1] == pytest.approx(float(loss), rel=1e-12)
