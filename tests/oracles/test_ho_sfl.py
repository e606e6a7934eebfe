"""HO-SFL against backpropagation, laws of its estimator, and closed forms of its messages and times."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from by_hand import Plain, batch, distance, same_bits
from torch.utils._pytree import tree_leaves

from fakes import FakeStreams, world
from learning import steps
from learning.models import Mlp
from learning.optimisers import Adam, Sgd
from learning.participation import RoundRobinParticipation
from learning.protocols.replicas import CommonPart, Scalars, Step
from learning.scheme import Scheme
from learning.schemes import HOSFL, SFL, ZOSFL
from learning.schemes.ho_sfl.operators import differences, probed
from learning.zeroth_order import Directions, direction, estimate, moved, perturbed

HEADER = Scalars().header_bits
RADIUS = 1e-5


def linear(parameters, x):
    return x @ parameters["w"]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniforms(count, like, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        {name: torch.rand(value.shape, generator=generator, dtype=torch.float64) for name, value in like.items()}
        for _ in range(count)
    ]


def flat(tree):
    return torch.cat([leaf.flatten() for leaf in tree.values()])


# 1, 2, 4, 10, 12: the estimator.


@pytest.mark.parametrize("law", ["gaussian", "rademacher"])
@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("radius", [1e-3, 1.0])
def test_a_linear_device_part_is_projected_on_the_directions(law, two_sided, radius):
    """g = 1/P sum_p u_p u_p^T g_bp, whatever the radius."""
    directions, weights, x, dz = Directions(4, radius, law, two_sided), {"w": drawn(6, 3)}, drawn(8, 6), drawn(8, 3)
    us, z = uniforms(4, weights), linear(weights, x)
    around = [[perturbed(linear, law, step, weights, x, u) for step in directions.sides] for u in us]
    found = flat(estimate(directions, weights, [differences(dz, z, around)], [us]))
    along = torch.stack([flat(direction(law, u)) for u in us])
    expected = along.T @ (along @ (x.T @ dz).flatten()) / 4
    assert float((found - expected).abs().max()) < 1e-9 * float(expected.abs().max())


def estimates(law, users, seeds, g, tries, count):
    """Estimates (tries, d) of the mean of equal gradients `g` of several users, with shared or private directions."""
    shared = users if seeds == "private" else 1
    us = torch.rand((tries, shared, count, len(g)), generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    along = direction(law, {"w": us})["w"]
    return ((along @ g)[..., None] * along).mean((1, 2))


@pytest.mark.parametrize(("law", "ratio"), [("gaussian", 51 / 5), ("rademacher", 49 / 5)])
def test_mean_and_variance_of_an_estimate(law, ratio):
    """4000 estimates with d = 50 and P = 5; the variance over |g|^2 is (d + 1) / P or (d - 1) / P."""
    g = drawn(50)
    found = estimates(law, 1, "shared", g, 4000, 5)
    assert float((found.mean(0) - g).norm() / g.norm()) < 3 * (ratio / 4000) ** 0.5
    variance = ((found - g) ** 2).sum(1).mean() / (g @ g)
    assert float(variance) == pytest.approx(ratio, rel=0.05)


def test_many_directions_give_the_gradient():
    """The cosine is near sqrt(P / (P + d + 1)): 0.91 with P = 5 d."""
    g = drawn(30)
    found = estimates("gaussian", 1, "shared", g, 200, 150)
    cosine = (found @ g / found.norm(dim=1) / g.norm()).mean()
    assert float(cosine) == pytest.approx((150 / 181) ** 0.5, abs=0.01)


@pytest.mark.parametrize("users", [2, 4])
def test_private_directions_divide_the_variance_by_the_number_of_users(users):
    g = drawn(20)
    shared, private = (estimates("gaussian", users, seeds, g, 4000, 3) for seeds in ("shared", "private"))
    spread = [((found - g) ** 2).sum(1).mean() for found in (shared, private)]
    assert float(spread[0] / spread[1]) == pytest.approx(users, rel=0.1)


def test_halving_the_radius_changes_little():
    weights, x, dz = {"w": drawn(6, 3)}, drawn(8, 6), drawn(8, 3)
    us, found = uniforms(4, weights), []

    def smooth(parameters, x):
        return torch.tanh(linear(parameters, x))

    for radius in (1e-3, 5e-4):
        around = [[perturbed(smooth, "gaussian", radius, weights, x, u)] for u in us]
        found.append(
            flat(estimate(Directions(4, radius), weights, [differences(dz, smooth(weights, x), around)], [us]))
        )
    assert 0 < float((found[0] - found[1]).norm() / found[0].norm()) < 1e-2


def test_scalars_are_the_same_when_they_are_computed_later():
    weights, x, dz = {"w": drawn(6, 3)}, drawn(8, 6), drawn(8, 3)
    (u,), z = uniforms(1, weights), linear(weights, x)
    now = differences(dz, z, [[perturbed(linear, "gaussian", RADIUS, weights, x, u)]])
    assert torch.equal(now, probed(linear, "gaussian", (RADIUS,), weights, x, z, dz, u))


# 3: with the unit vectors as directions it is split federated learning.


def test_along_unit_vectors_it_is_first_order(monkeypatch):
    """Unit vectors times the root of their number d; the mean of their squares is then the identity."""
    plain = world(SFL(), rounds=2, optimiser=Sgd(0.1))
    names = plain.front.parameters()
    count = sum(value.numel() for value in names.values())

    def unit(self, streams, parameters, dtype, *entity):
        shapes, out = {name: value.shape for name, value in parameters.items()}, []
        for place in range(count):
            one = torch.zeros(count, dtype=dtype)
            one[place] = count**0.5
            pieces = one.split([int(np.prod(shape)) for shape in shapes.values()])
            out.append(
                {name: piece.reshape(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
            )
        return out

    monkeypatch.setattr(Directions, "draws", unit)
    monkeypatch.setattr("learning.zeroth_order.direction", lambda law, u: u)
    ran = world(HOSFL(Directions(count, 1e-7)), rounds=2, optimiser=Sgd(0.1))
    assert distance(ran.model, plain.model) < 1e-7


# 5, 8: no weights are sent, and bits do not depend on the size of the device's part.


@pytest.mark.parametrize("count", [1, 5])
def test_bits_of_a_round(count):
    """b (a q + labels) and 32 P up, b a q down, seeds and mean scalars to all."""
    ran = world(HOSFL(Directions(count)), rounds=3, precision=torch.float32)
    assert ran.journal.sent(kind="activation") == [8 * (12 * 32 + 64)] * 9
    assert ran.journal.sent(kind="gradient") == [8 * 12 * 32] * 9
    assert ran.journal.sent(kind="scalars", direction="up") == [32 * count + HEADER] * 9
    assert ran.journal.sent(kind="scalars", direction="broadcast") == [32 * count + HEADER] * 3
    assert ran.journal.sent(kind="seeds") == [32 * count + HEADER] * 3
    assert {message.round for message in ran.journal.messages if message.kind == "model"} == {0}
    deep = world(HOSFL(Directions(count)), rounds=3, precision=torch.float32, model=Mlp((120, 12, 8)), cut=2)
    for kind in ("activation", "gradient", "scalars", "seeds"):
        assert deep.journal.sent(kind=kind) == ran.journal.sent(kind=kind)


def test_private_directions_take_all_users_seeds_and_scalars():
    ran = world(HOSFL(seeds="private"), rounds=1)
    assert ran.journal.sent(kind="seeds") == [3 * 5 * 32 + HEADER]
    assert ran.journal.sent(kind="scalars", direction="broadcast") == [3 * 5 * 32 + HEADER]
    assert ran.journal.sent(kind="scalars", direction="up") == [5 * 32 + HEADER] * 3


def test_private_directions_are_each_users_own():
    """Users with the same data have the same scalars only along the same directions."""
    same = {"parts": [np.full(24, 5)] * 3, "rounds": 1}
    shared, private = (world(HOSFL(seeds=seeds), **same).model for seeds in ("shared", "private"))
    assert distance(shared, private) > 1e-6


# 6, 7: the server learns as ever, devices keep nothing for a backward pass.


def test_without_directions_only_the_server_learns():
    ran = world(HOSFL(Directions(0)), users=1, rounds=4, optimiser=Sgd(0.1, 0.9))
    front, back = ran.initial(ran.front), Plain(ran, ran.back, Sgd(0.1, 0.9))
    for number in range(4):
        x, y = batch(ran, ran.users[0], number)
        back.step(ran.front(front, x), y)
    assert same_bits(ran.model, front | back.weights)
    assert {message.kind for message in ran.journal.messages} == {"model", "activation"}


def test_the_servers_step_is_that_of_split_federated_learning():
    ran, plain = world(HOSFL(), rounds=1), world(SFL(), rounds=1)
    names = ran.back.parameters()
    assert same_bits({name: ran.model[name] for name in names}, {name: plain.model[name] for name in names})


def test_devices_need_the_memory_of_inference():
    ran, plain = world(HOSFL(), rounds=1), world(SFL(), rounds=1)

    def most(journal, *kinds):
        return max(work.memory_bytes for work in journal.works if work.kind in kinds)

    kinds = {work.kind for work in ran.journal.works if work.node is not None}
    assert kinds == {"client_forward", "client_perturbed", "client_scalars", "client_step"}
    assert most(ran.journal, "client_forward") < most(plain.journal, "client_backward")


# 9: devices that have missed rounds.


class Absent(Scheme):
    """Steps of the common part, of which some users miss all but the last."""

    def __init__(self, catch_up, rounds):
        self.catch_up, self.number = catch_up, rounds

    def run(self, world):
        self.common = common = CommonPart(world, world.initial(world.front), Directions(2), Scalars(), self.catch_up)
        first, second = world.users
        yield from common.synchronise(first)
        yield from common.synchronise(second)
        for number in range(self.number):
            common.step(Step([drawn(2, seed=number)], [common.draws(number)]))
            yield from common.follow([first])
        yield from common.synchronise(second)


@pytest.mark.parametrize("optimiser", [Sgd(0.1), Sgd(0.1, 0.9), Adam(0.01)], ids=str)
@pytest.mark.parametrize("catch_up", ["replay", "download", "auto"])
def test_a_device_that_was_away_catches_up(optimiser, catch_up):
    scheme = Absent(catch_up, 3)
    ran = world(scheme, users=2, optimiser=optimiser)
    here, away = (scheme.common.replicas[user] for user in ran.users)
    value = ran.executor.value
    assert same_bits(value(here.weights), value(away.weights))
    for a, b in zip(tree_leaves(value(here.state)), tree_leaves(value(away.state)), strict=True):
        assert torch.equal(a, b)
    sent = ran.journal.sent(kind="history")
    assert sent == ([] if catch_up == "download" else [3 * 64 * 2 + HEADER])
    assert len(ran.journal.sent(kind="model")) == (3 if catch_up == "download" else 2)
    assert here.version == away.version == 3
    if catch_up == "download":
        state = 64 * sum(leaf.numel() for leaf in tree_leaves(value(here.state)))
        assert ran.journal.sent(kind="model")[-1] == 64 * 780 + state


def test_after_many_rounds_weights_are_cheaper_than_history():
    """780 weights of 64 bits; entries of 2 directions take 128 bits a round, so from 390 rounds on."""
    for rounds, kind in ((380, "history"), (400, "model")):
        ran = world(Absent("auto", rounds), users=2, optimiser=Sgd(0.1))
        assert ran.journal.messages[-1].kind == kind


@pytest.mark.parametrize("optimiser", [Sgd(0.1, 0.9), Adam(0.01)], ids=str)
def test_users_in_turn_train_one_device_part(optimiser):
    ran = world(
        HOSFL(catch_up="replay"), users=4, rounds=6, participation=RoundRobinParticipation(2), optimiser=optimiser
    )
    downloaded = world(
        HOSFL(catch_up="download"), users=4, rounds=6, participation=RoundRobinParticipation(2), optimiser=optimiser
    )
    assert same_bits(ran.model, downloaded.model)
    assert ran.journal.sent(kind="history")
    assert not downloaded.journal.sent(kind="history")


# 11: time.


def round_s(scheme, **setting):
    return world(scheme, rounds=1, **setting).env.now


def test_forward_passes_overlap_with_the_exchange():
    slow_radio = {"uplink_bps": 1e4, "users": 1}
    overlap, after = (
        [round_s(HOSFL(Directions(count), perturb=how), **slow_radio) for count in (0, 1, 3)]
        for how in ("overlap", "after_gradient")
    )
    assert overlap[0] == after[0]
    assert all(a < b for a, b in zip(overlap[1:], after[1:], strict=True))
    assert all(a < b for a, b in pairwise(after))


# The baseline of zeroth order on both sides.


def test_a_round_of_zeroth_order_on_both_sides():
    """Changes of the loss of the whole model along directions of the whole model."""
    directions = Directions(3, RADIUS)
    ran = world(ZOSFL(directions), rounds=1, optimiser=Sgd(0.1))
    streams, dtype = FakeStreams(1), torch.float64
    front, back = ran.initial(ran.front), ran.initial(ran.back)
    us = [{n: d.tensor() for n, d in u.items()} for u in directions.draws(streams, front, dtype, 0)]
    vs = [{n: d.tensor() for n, d in u.items()} for u in directions.draws(streams, back, dtype, 0, "server")]
    whole = front | back
    changes = []
    for u, v in zip(us, vs, strict=True):
        shifted = moved("gaussian", RADIUS, whole, u | v)
        losses = []
        for user in ran.users:
            x, y = batch(ran, user, 0)
            losses.append(steps.mean_loss(ran.whole(shifted, x), y) - steps.mean_loss(ran.whole(whole, x), y))
        changes.append(torch.stack(losses).mean())
    along = [direction("gaussian", u | v) for u, v in zip(us, vs, strict=True)]
    expected = {
        n: w - 0.1 * sum(c / (3 * RADIUS) * each[n] for c, each in zip(changes, along, strict=True))
        for n, w in whole.items()
    }
    assert distance(ran.model, expected) < 1e-6


def test_zeroth_order_on_both_sides_sends_all_smashed_data():
    ran = world(ZOSFL(Directions(3)), rounds=1, precision=torch.float32)
    assert ran.journal.sent(kind="activation") == [8 * (4 * 12 * 32 + 64)] * 3
    assert not ran.journal.sent(kind="gradient")
