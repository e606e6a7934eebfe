"""GenFL against federated averaging and plain torch, and closed forms of its messages, weights, times and energy."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from by_hand import Plain, batch, by_samples, distance, mean, same_bits

from fakes import FakeWorld, digits, world
from learning.control.generation import EmdPerClientWeight, EmdWeight, FixedWeight, SamplesWeight, ValidatedWeight
from learning.data import Rows
from learning.generation import GaussianMixture, Oracle
from learning.optimisers import Sgd
from learning.schemes import FedAvg, GenFL
from learning.schemes.genfl.histogram import Histogram
from learning.schemes.genfl.server import Augmentation
from runs import TINY, frame
from scenarios import load, simulate
from scenarios.run import Result

SGD = Sgd(0.1)
FIXED = Augmentation(amount=30)
CLASSES = 10


@cache
def members(label: int) -> np.ndarray:
    """Training rows of a class that the fake worlds' users may have."""
    labels = digits(torch.float64, 40).train.y.numpy()[:-200]
    return np.flatnonzero(labels == label)


def unequal(users: int = 3) -> list[np.ndarray]:
    """Rows of users who have two classes each."""
    return [np.concatenate([members(2 * user)[:12], members(2 * user + 1)[:12]]) for user in range(users)]


def equal(users: int = 3) -> list[np.ndarray]:
    """Rows of users with equal label histograms, one sample of each of three classes for each that the first has."""
    return [
        np.concatenate([members(label)[user * (8 + label) :][: 8 + label] for label in range(3)])
        for user in range(users)
    ]


def ran(scheme: Any, parts: Sequence[np.ndarray] | None = None, **setting: Any) -> FakeWorld:
    return world(scheme, **{"parts": parts or unequal(), "optimiser": SGD, "rounds": 2, **setting})


# 1: without weight, or with equal labels, it is federated averaging.


@pytest.mark.parametrize("generator", [Oracle(0.5), GaussianMixture()], ids=str)
def test_without_weight_it_is_federated_averaging(generator):
    plain = ran(FedAvg())
    for weights in (EmdWeight(0.0), FixedWeight(0.0)):
        found = ran(GenFL(generator=generator, weights=weights, augmentation=FIXED))
        assert same_bits(found.model, plain.model)
        assert len(found.journal.charged(kind="augmented_training")) == 2


@pytest.mark.parametrize("mode", ["server_model", "ship", "both"])
def test_with_equal_labels_it_is_federated_averaging(mode):
    found = ran(GenFL(mode=mode, weights=EmdWeight(1.0), augmentation=FIXED), equal())
    assert same_bits(found.model, ran(FedAvg(), equal()).model)
    assert bool(found.journal.charged(kind="generation")) == (mode != "ship")


def test_with_unequal_labels_it_is_not():
    assert distance(ran(GenFL(augmentation=FIXED)).model, ran(FedAvg()).model) > 1e-6


# 3: the mean of the users' models and the server's, by hand.


def generated(found: FakeWorld, amount: int, number: int, known: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """What a truthful oracle generates in a round, from the draws by their names."""
    weights = known.max() - known + 1
    exact = weights / weights.sum() * amount
    counts = np.floor(exact).astype(int)
    for place in np.argsort(counts - exact, kind="stable")[: amount - counts.sum()]:
        counts[place] += 1
    labels = np.repeat(np.arange(CLASSES), counts)
    draws = found.streams.generator("generated", "pool", number)
    draws.random(len(labels))
    public = [found.public.indices[found.dataset.train.y[found.public.indices] == label] for label in range(CLASSES)]
    rows = [
        public[label][int(u * len(public[label]))] for label, u in zip(labels, draws.random(len(labels)), strict=True)
    ]
    return found.dataset.train.x[rows], torch.from_numpy(labels)


def by_hand(found: FakeWorld, share: float, amount: int, epochs: int) -> dict[str, torch.Tensor]:
    """Two rounds in plain torch."""
    model = found.initial(found.whole)
    known = np.bincount(
        found.dataset.train.y[np.concatenate([user.batches.indices for user in found.users])], minlength=CLASSES
    )
    pool: list[tuple[torch.Tensor, torch.Tensor]] = []
    for number in range(2):
        locals_ = []
        for user in found.users:
            own = Plain(found, found.whole, SGD)
            own.load(model)
            for position in range(3 * number, 3 * number + 3):
                own.step(*batch(found, user, position))
            locals_.append(own.weights)
        pool.append(generated(found, amount, number, known))
        x, y = (torch.cat(each) for each in zip(*pool, strict=True))
        server = Plain(found, found.whole, SGD)
        server.load(model)
        for each in range(epochs):
            order = found.streams.generator("augmentation", number, each).permutation(len(y))
            for start in range(0, len(y), 8):
                rows = order[start : start + 8]
                server.step(x[rows], y[rows])
        model = mean([mean(locals_, by_samples(found)), server.weights], [1 - share, share])
    return model


@pytest.mark.parametrize(("share", "epochs"), [(1.0, 1), (0.3, 2)])
def test_rounds_by_hand(share, epochs):
    described = Augmentation(amount=30, epochs=epochs)
    found = ran(GenFL(generator=Oracle(), weights=FixedWeight(share), augmentation=described))
    assert distance(found.model, by_hand(found, share, 30, epochs)) < 1e-12


def test_the_model_is_linear_in_the_weight():
    ends = [ran(GenFL(weights=FixedWeight(k), augmentation=FIXED), rounds=1).model for k in (0.0, 1.0)]
    between = ran(GenFL(weights=FixedWeight(0.25), augmentation=FIXED), rounds=1).model
    assert distance(between, mean(ends, [0.75, 0.25])) < 1e-14


def weights_of(policy: Any, **setting: Any) -> list[float]:
    found = ran(GenFL(weights=policy, augmentation=FIXED), **setting)
    return [value for _, _, name, value in found.journal.decisions if name == "server_weight"]


def test_weights_of_the_policies():
    """Three users with two classes each: EMD = 2 (1 - 1/3); 30 and 60 generated samples beside 72."""
    assert weights_of(EmdWeight(0.5)) == pytest.approx([1 / 3] * 2)
    assert weights_of(EmdPerClientWeight(0.25)) == pytest.approx([1 / 6] * 2)
    assert weights_of(SamplesWeight()) == pytest.approx([30 / 102, 60 / 132])
    assert weights_of(EmdWeight(0.5), parts=equal()) == [0.0, 0.0]


def test_users_with_unequal_labels_count_less():
    """Users of 20 samples of one class, 20 of one other, and 10 of each: M (1 - EMD / 2) with pi = (1/2, 1/2)."""
    parts = [members(0)[:20], members(1)[:20], np.concatenate([members(0)[20:30], members(1)[20:30]])]
    found = ran(GenFL(weights=EmdPerClientWeight(0.0), augmentation=FIXED), parts, rounds=1)
    models = []
    for user in found.users:
        own = Plain(found, found.whole, SGD)
        for position in range(3):
            own.step(*batch(found, user, position))
        models.append(own.weights)
    assert distance(found.model, mean(models, [0.25, 0.25, 0.5])) < 1e-14


def test_the_validated_weight_is_the_best_of_its_grid():
    grid = (0.0, 0.25, 0.5, 1.0)
    found = ran(GenFL(weights=ValidatedWeight(grid), augmentation=FIXED), rounds=1)
    x, y = (found.dataset.train.arrays[name][found.public.indices] for name in "xy")
    fixed = [ran(GenFL(weights=FixedWeight(k), augmentation=FIXED), rounds=1).model for k in grid]
    losses = [float(F.cross_entropy(found.whole(model, x), y)) for model in fixed]
    assert (
        same_bits(found.model, fixed[int(np.argmin(losses))])
        or distance(found.model, fixed[int(np.argmin(losses))]) < 1e-14
    )
    assert len(found.journal.charged(kind="validation")) == 1


# 6: messages.


def test_bits():
    """32 C once, 2 x 32 P in each round; the server's model adds none, shipping the pixels of what lacks."""
    setting = {"precision": torch.float32, "rounds": 3}
    plain, server, ship = (ran(s, **setting) for s in (FedAvg(), GenFL(augmentation=FIXED), GenFL(mode="ship")))
    size = 32 * sum(value.numel() for value in plain.model.values())
    for found in (plain, server, ship):
        assert found.journal.sent(kind="model") == [size] * 18
    for found in (server, ship):
        assert found.journal.sent(kind="histogram", round=0, direction="up") == [32 * CLASSES] * 3
    assert not server.journal.sent(kind="samples")
    assert len(server.journal.messages) == 18 + 3
    # 24 samples of two classes, and the union has six classes alike: each user lacks 4 of the other four.
    assert ship.journal.sent(kind="samples", round=0, direction="down") == [16 * 64 * 8] * 3
    assert len(ship.journal.messages) == 18 + 3 + 3
    assert ran(GenFL(mode="ship", max_shipped=5), **setting).journal.sent(kind="samples") == [5 * 64 * 8] * 3
    assert ran(GenFL(histogram=Histogram(8)), **setting).journal.sent(kind="histogram") == [8 * CLASSES] * 3


def test_users_train_on_what_they_receive():
    """One round of one user of the two in plain torch: its samples and those that it lacks, in mixed mini-batches."""
    parts = [members(0)[:20], members(1)[:20]]
    found = ran(GenFL(mode="ship", generator=Oracle()), parts, rounds=1, users=2)
    models = []
    for user, lacks in zip(found.users, (1, 0), strict=True):
        assert found.journal.charged(kind="generation", user=user.number) == [0]
        draws = found.streams.generator("generated", "shipped", user.number)
        draws.random(10)
        public = found.public.indices[found.dataset.train.y[found.public.indices] == lacks]
        extra = found.dataset.train.x[[public[int(u * len(public))] for u in draws.random(10)]]
        own = [batch(found, user, position) for position in range(3)]
        x, y = torch.cat([*(x for x, _ in own), extra]), torch.cat([*(y for _, y in own), torch.full((10,), lacks)])
        shuffle = found.streams.generator("mixed samples", user.number, 0)
        order = shuffle.permutation(np.concatenate([np.arange(20), 20 + shuffle.permutation(10)]))
        assert sorted(order) == list(range(30))
        plain = Plain(found, found.whole, SGD)
        for start in range(0, 30, 8):
            plain.step(x[order[start : start + 8]], y[order[start : start + 8]])
        models.append(plain.weights)
    assert distance(found.model, mean(models, [0.5, 0.5])) < 1e-14


def test_noise_of_histograms():
    """Laplace(1 / epsilon) in each bin, clipped at 0: its mean distance from the histogram, over 300 users' draws."""
    shared = Histogram(laplace_epsilon=0.5)
    found = ran(FedAvg(), rounds=1)
    off = []
    for number in range(300):
        user = found.users[number % 3]
        user.number = number
        own = np.bincount(found.dataset.train.y[user.batches.indices], minlength=CLASSES)
        noisy = found.env.run(found.env.process(shared.share(found, user)))
        assert (noisy >= 0).all()
        off.extend((noisy - own)[own > 0])
    assert np.mean(np.abs(off)) == pytest.approx(2.0, rel=0.15)  # the mean of |Laplace| is its scale
    assert abs(np.mean(off)) < 0.35


# 7, 8: the server works in the shadow of stragglers.

QUIET = {
    "network.channel.fading": "none",
    "network.sharing.uplink.scheduler": "fixed",
    "network.sharing.downlink.scheduler": "fixed",
    "compute.stragglers.slowdown": "none",
    "energy.server_compute": {"name": "joules_per_flop", "joules_per_flop": 1e-9},
    "learning.public_fraction": 0.2,
    "learning.executor": "dry",
}


def timed(scheme: dict[str, Any], **more: Any) -> Result:
    return simulate(load(TINY, {**QUIET, "learning.scheme": scheme, **more}))


def genfl(amount: int | str, flops_per_sample: int = 1_000_000, **more: Any) -> dict[str, Any]:
    generator = {"name": "oracle", "flops_per_sample": flops_per_sample}
    return {
        "name": "genfl",
        "generator": generator,
        "augmentation": {"amount": amount, "max_amount": 10**6, "pool_max": 10**6, **more},
    }


def ends(result: Result, number: int) -> tuple[float, float]:
    """When users and the server have done their parts of a round."""
    jobs, sent = frame(result, "computations"), frame(result, "transfers")
    uploads = sent[(sent.kind == "model") & (sent.direction == "up") & (sent["round"] == number)]
    server = jobs[(jobs.node_kind == "server") & (jobs.kind != "aggregation") & (jobs["round"] == number)]
    return uploads.end_s.max(), server.end_s.max()


def test_work_in_the_shadow_takes_no_time():
    plain, hidden = frame(timed({"name": "fedavg"}), "rounds"), timed(genfl(10))
    users, server = ends(hidden, 1)
    assert server < users
    jobs = frame(hidden, "computations")
    blending = jobs[jobs.kind == "aggregation"].groupby("round").service_s.last()
    extra = (frame(hidden, "rounds").latency_s - plain.latency_s - blending).to_numpy()
    assert abs(extra[1:]).max() < 1e-9
    share_s = frame(hidden, "transfers").query("kind == 'histogram'").end_s.max()
    assert extra[0] == pytest.approx(share_s, abs=1e-9)


def test_beyond_the_shadow_it_takes_its_own_time():
    """FLOPs of 40 samples that all come on top: twice as many take twice the time on a server of 1 GFLOP/s."""
    first, second = (frame(timed(genfl(40, flops)), "rounds").latency_s for flops in (50_000_000, 100_000_000))
    np.testing.assert_allclose(second - first, 40 * 50_000_000 / 1e9, rtol=1e-9)


@pytest.mark.parametrize("scheduler", ["fixed", "controlled"])
def test_the_amount_is_the_largest_that_is_hidden(scheduler):
    best = {"bandwidth": "min_max"} if scheduler == "controlled" else {}
    under = {"network.sharing.uplink.scheduler": scheduler}
    shadow = timed(genfl("shadow") | best, **under)
    decided = frame(shadow, "decisions").query("name == 'generated_samples'").value.astype(int)
    assert decided.min() > 0
    users, server = ends(shadow, 0)
    assert server <= users
    users, server = ends(timed(genfl(int(decided.iloc[0]) + 1) | best, **under), 0)
    assert server > users
    predicted = frame(shadow, "decisions").query("name == 'predicted_straggler_s'").value.to_numpy()
    rounds = frame(shadow, "rounds")
    assert users - frame(shadow, "transfers").query("kind == 'histogram'").end_s.max() == pytest.approx(predicted[0])
    assert rounds.latency_s[1] > predicted[1]


def test_the_optimal_band_ends_all_uploads_together():
    result = timed(genfl("shadow") | {"bandwidth": "min_max"}, **{"network.sharing.uplink.scheduler": "controlled"})
    sent = frame(result, "transfers").query("kind == 'model' and direction == 'up' and round == 1")
    assert sent.end_s.max() - sent.end_s.min() < 1e-6
    equal = timed(genfl("shadow"), **{"network.sharing.uplink.scheduler": "controlled"})
    assert frame(result, "rounds").latency_s[1] < frame(equal, "rounds").latency_s[1]


@pytest.mark.parametrize(
    ("policy", "rank"),
    [({"name": "first_k", "k": 2}, 1), ({"name": "deadline", "deadline_s": 0.05}, None), ("wait_for_all", 3)],
)
def test_the_shadow_is_that_of_the_last_user_that_the_policy_waits_for(policy, rank):
    """In round 1, by the times of uploads when all are waited for."""
    everyone = frame(timed(genfl("shadow")), "transfers").query("kind == 'model' and direction == 'up' and round == 1")
    start_s = frame(timed(genfl("shadow")), "rounds").start_s[1]
    found = frame(timed(genfl("shadow"), **{"learning.policy": policy}), "decisions")
    predicted = found.query("name == 'predicted_straggler_s' and round == 1").value.item()
    assert predicted == pytest.approx(0.05 if rank is None else sorted(everyone.end_s - start_s)[rank])


def test_a_deadline_cuts_off_the_server():
    """What was not generated in time is lost, and the round is one of federated averaging."""
    late = {"learning.policy": {"name": "deadline", "deadline_s": 0.2}, "learning.executor": "batched"}
    cut, plain = timed(genfl(40, 100_000_000), **late), timed({"name": "fedavg"}, **late)
    jobs = frame(cut, "computations").query("kind == 'generation'")
    assert jobs.interrupted.all()
    assert not (frame(cut, "computations").kind == "augmented_training").any()
    a, b = (frame(each, "evaluations").value for each in (cut, plain))
    pd.testing.assert_series_equal(a, b)


def test_energy_of_the_server():
    """In proportion to the samples, and in no user's account."""
    energy = {}
    for amount in (10, 20):
        jobs = frame(timed(genfl(amount)), "computations")
        energy[amount] = jobs[jobs.kind == "generation"].energy_j.to_numpy()
    np.testing.assert_allclose(energy[10], 10 * 1_000_000 * 1e-9)
    np.testing.assert_allclose(energy[20], 2 * energy[10])
    plain, more = (frame(timed(scheme), "energy") for scheme in ({"name": "fedavg"}, genfl(20)))
    assert plain.compute_j.tolist() == more.compute_j.tolist()


def test_the_pool_is_limited():
    jobs = frame(timed(genfl(20, pool_max=50)), "computations")
    flops = jobs[jobs.kind == "generation"].flops
    assert flops.tolist() == [20_000_000, 20_000_000, 10_000_000]
    training = jobs[jobs.kind == "augmented_training"].flops
    assert (training / training.iloc[0]).tolist() == pytest.approx([1.0, 2.0, 2.5, 2.5])


def test_users_far_from_the_reference_are_excluded():
    """A user of three classes alike, and one of one of them: EMD 2/5 and 4/5 from 20/60, 30/60, 10/60... by hand."""
    parts = [np.concatenate([members(label)[:10] for label in range(3)]), members(0)[20:50]]
    found = ran(GenFL(emd_max=0.7, augmentation=FIXED), parts, users=2)
    decided = {user: value for _, user, name, value in found.journal.decisions if name == "emd"}
    assert decided == pytest.approx({0: 2 * (4 / 6 - 1 / 3), 1: 2 * (1 - 4 / 6)})
    assert [user.node.gone for user in found.users] == [False, False]
    assert ran(GenFL(emd_max=0.6, augmentation=FIXED), [members(0)[:30], *parts[:1], *parts[:1]]).users[0].node.gone


# 9: a generator whose labels say nothing.


def loss_after(fidelity: float, share: float) -> float:
    """Loss on test samples of a model that three users with 120 samples each have trained for six rounds."""
    scheme = GenFL(generator=Oracle(fidelity), weights=FixedWeight(share), augmentation=Augmentation(amount=60))
    parts = [np.arange(user * 120, (user + 1) * 120) for user in range(3)]
    found = ran(scheme, parts, rounds=6, batch_size=16, test_samples=200, evaluate_every=6, executor="batched")
    return found.journal.series("loss")[-1]


def test_shuffled_labels_harm_the_more_the_more_they_weigh():
    plain, half, most = (loss_after(0.0, share) for share in (0.0, 0.5, 0.9))
    assert plain + 0.02 < half < most - 0.02
    assert loss_after(1.0, 0.5) < plain


def test_real_images_are_rows_of_the_public_samples():
    found = ran(GenFL(generator=Oracle(), augmentation=FIXED), rounds=1)
    operation, _, rows = (
        Oracle().train(found.public, found.executor, torch.float64).sampling(np.arange(10), found.streams)
    )
    assert isinstance(rows, Rows)
    assert set(rows.indices) <= set(found.public.indices)
    assert found.dataset.train.y[rows.indices].tolist() == list(range(10))
    assert torch.equal(operation(0, rows.tensor()), rows.tensor())
