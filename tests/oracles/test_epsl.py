"""EPSL against parallel split learning, and against autograd on the mean samples."""

from math import ceil

import numpy as np
import pytest
import torch
from by_hand import batch, distance, mean, same_bits

from fakes import world
from learning.optimisers import Sgd
from learning.schemes import EPSL, PSL

SAMPLES, USERS = 8, 3


def test_without_shared_samples_it_is_parallel_split_learning():
    setting = {"samples": [8, 24, 40]}
    ran, plain = world(EPSL(0.0), **setting), world(PSL(), **setting)
    assert all(same_bits(a, b) for a, b in zip(ran.every_model, plain.every_model, strict=True))


@pytest.mark.parametrize("shared", [0.5, 1.0])
def test_users_with_the_same_data_lose_nothing(shared):
    same = {"parts": [np.full(24, 5)] * 3}
    ran, plain = world(EPSL(shared), **same), world(PSL(), **same)
    assert max(distance(a, b) for a, b in zip(ran.every_model, plain.every_model, strict=True)) < 1e-10


@pytest.mark.parametrize("weighting", ["uniform", "by_samples"])
def test_mean_samples_by_hand(weighting):
    """One round: gradients at the last layer are averaged over users, and go back from the mean smashed data."""
    setting = {"samples": [8, 24, 40], "rounds": 1, "optimiser": Sgd(0.1)}
    ran = world(EPSL(0.5, weighting), **setting)
    front, back = (part.initial(ran.streams, ran.precision) for part in (ran.front, ran.back))
    shares = ran.weights(ran.users, weighting)
    back = {name: value.requires_grad_() for name, value in back.items()}
    fronts = [{name: value.clone().requires_grad_() for name, value in front.items()} for _ in ran.users]
    zs, logit_gradients, own, own_dz = [], [], [], []
    for user, weights in zip(ran.users, fronts, strict=True):
        x, y = batch(ran, user, 0)
        zs.append(ran.front(weights, x))
        z = zs[-1].detach().requires_grad_()
        logits = ran.back(back, z)
        losses = torch.nn.functional.cross_entropy(logits, y, reduction="none") / len(y)
        logit_gradients.append(torch.autograd.grad(losses.sum(), logits, retain_graph=True)[0][:4])
        *gradients, dz = torch.autograd.grad(losses[4:].sum(), [*back.values(), z])
        own.append(dict(zip(back, gradients, strict=True)))
        own_dz.append(dz[4:])
    z = sum(share * each[:4].detach() for share, each in zip(shares, zs, strict=True)).requires_grad_()
    at_logits = sum(share * each for share, each in zip(shares, logit_gradients, strict=True))
    *gradients, shared_dz = torch.autograd.grad(ran.back(back, z), [*back.values(), z], at_logits)
    total = {name: g + mean(own, shares)[name] for name, g in zip(back, gradients, strict=True)}
    expected_back = {name: (value - 0.1 * total[name]).detach() for name, value in back.items()}
    for model, sent, dz, weights in zip(ran.every_model, zs, own_dz, fronts, strict=True):
        gradients = torch.autograd.grad(sent, list(weights.values()), torch.cat([shared_dz, dz]))
        moved = {n: (w - 0.1 * g).detach() for (n, w), g in zip(weights.items(), gradients, strict=True)}
        assert distance(model, {**moved, **expected_back}) < 1e-12


@pytest.mark.parametrize("shared", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_sample_passes_and_messages(shared):
    """m forward passes more, m + N (b - m) backward passes; one broadcast of m samples, and b - m for each user."""
    ran, plain = world(EPSL(shared), rounds=1), world(PSL(), rounds=1)
    count = ceil(shared * SAMPLES)
    (whole,) = set(plain.journal.sent(kind="gradient"))
    forward = {work.flops for work in ran.journal.works if work.kind == "server_forward"}
    (forward_sample,) = (flops / SAMPLES for flops in forward)
    backward_sample = plain.journal.charged(kind="server_step")[0] / SAMPLES - forward_sample
    passes = ran.journal.charged(kind="server_backward")
    others = USERS * (SAMPLES - count)
    assert sum(passes) == pytest.approx(count * forward_sample + (count + others) * backward_sample, rel=1e-12)
    broadcasts = ran.journal.sent(kind="gradient", direction="broadcast")
    assert broadcasts == ([whole * count / SAMPLES] if count else [])
    unicasts = ran.journal.sent(kind="gradient", direction="down")
    assert unicasts == ([whole * (SAMPLES - count) / SAMPLES] * USERS if count < SAMPLES else [])


def test_users_without_samples_of_their_own():
    """Mini-batches of one, three and eight samples: one sample is shared, and the first user has no other."""
    sizes = {"samples": [1, 3, 8], "rounds": 1, "optimiser": Sgd(0.1)}
    ran, plain = world(EPSL(0.5), **sizes), world(PSL(), **sizes)
    assert len(ran.journal.sent(kind="gradient", direction="down")) == 2
    moved = [distance(a, b) for a, b in zip(ran.every_model, plain.every_model, strict=True)]
    assert all(0 < each < 0.1 for each in moved)


def test_the_server_waits_for_all_users():
    journal = world(EPSL(), rounds=1, flops_per_s=[1e6, 1e6, 1e4]).journal
    backward = min(work.start_s for work in journal.works if work.kind == "server_backward")
    assert backward >= max(work.end_s for work in journal.works if work.kind == "server_forward")
