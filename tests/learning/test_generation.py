"""Generators against the library's own modules and loops, and their plans, distances and qualities in closed form."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from fakes import FakeStreams, digits
from learning.control.generation.amount import ServerWork
from learning.control.generation.labels import SharedLabels, emd
from learning.control.generation.latency import LatencyProblem
from learning.control.generation.plans import client_gap, labels_of, largest_remainder, planned
from learning.control.rate import rate_bps
from learning.data import Batches
from learning.data.partition import Dirichlet, Shared, among
from learning.data.public import PublicData, public_rows
from learning.draws import standard_normal
from learning.executor import EXECUTORS
from learning.generation import Diffusion, GaussianMixture, Generator, Oracle, unet
from learning.generation.quality import Judge, Quality, frechet_distance, tensors
from learning.optimisers import Sgd

SMALL = Diffusion(steps=2, channels=(4, 8), training_steps=3, batch_size=4, optimiser=Sgd(0.05))


def public(dtype: torch.dtype = torch.float32) -> PublicData:
    dataset = digits(dtype, 100)
    return PublicData(dataset, public_rows(dataset, 0.2), FakeStreams(3))


# Public data.


def test_public_samples_belong_to_no_user_and_depend_on_no_seed():
    dataset = digits(torch.float32, 100)
    rows = public_rows(dataset, 0.2)
    assert len(rows) == round(0.2 * len(dataset.train.y))
    of_class = np.bincount(dataset.train.y[rows], minlength=10) / np.bincount(dataset.train.y)
    assert abs(of_class - 0.2).max() < 0.01
    private = np.setdiff1d(np.arange(len(dataset.train.y)), rows)
    for law in (Dirichlet(0.1), Shared(20)):
        shares = among(private, law.split(dataset.train.y.numpy()[private], 5, FakeStreams(1)))
        assert not set(rows) & set(np.concatenate([shares[user] for user in range(5)]))
    divided = among(private, Dirichlet(0.1).split(dataset.train.y.numpy()[private], 5, FakeStreams(1)))
    assert np.array_equal(np.sort(np.concatenate(list(divided))), private)


def test_a_class_without_public_samples_is_named():
    data = public()
    rest = replace(data, indices=data.indices[data.dataset.train.y[data.indices] != 4])
    for generator in (Oracle(), GaussianMixture()):
        with pytest.raises(ValueError, match="no sample of class 4; raise public_fraction"):
            generator.check(rest)
    one = replace(data, indices=np.concatenate([rest.indices, data.rows_by_class()[4][:1]]))
    Oracle().check(one)
    with pytest.raises(ValueError, match="a class has one public sample"):
        GaussianMixture().check(one)


# Distances of labels and plans.


def test_distances_of_labels():
    uniform = np.full(10, 0.1)
    assert emd(np.eye(10)[3] * 7, uniform) == pytest.approx(1.8)
    assert emd(np.arange(1, 11), np.arange(1, 11) / 55) == 0
    halves = np.repeat(np.eye(2), 5, axis=1) * 4
    assert emd(halves, halves.sum(0) / halves.sum()) == pytest.approx([1.0, 1.0])
    assert emd(np.zeros(10), uniform) == 0
    generator = np.random.Generator(np.random.Philox(1))
    counts, order = generator.integers(0, 30, (6, 10)), generator.permutation(10)
    reference = counts.sum(0) / counts.sum()
    found = emd(counts, reference)
    assert ((found >= 0) & (found <= 2)).all()
    np.testing.assert_allclose(emd(counts[:, order], reference[order]), found)


def test_shared_labels():
    labels = SharedLabels(3, "global")
    assert (labels.mean_emd, labels.reference.tolist()) == (0.0, [1 / 3] * 3)
    labels.add(4, [6, 0, 0])
    labels.add(2, [0, 1, 1])
    assert (4 in labels, 3 in labels) == (True, False)
    assert labels.total.tolist() == [6, 1, 1]
    assert labels.emd([4, 2, 3]) == pytest.approx([0.5, 1.5, 0.0])
    assert labels.mean_emd == pytest.approx(0.75 * 0.5 + 0.25 * 1.5)
    uniform = SharedLabels(2, "uniform")
    uniform.add(0, [5, 0])
    assert uniform.mean_emd == pytest.approx(1.0)


def test_plans_sum_to_the_total():
    generator = np.random.Generator(np.random.Philox(2))
    for _ in range(50):
        weights, total = generator.random(7), int(generator.integers(0, 90))
        found = largest_remainder(weights, total)
        assert found.sum() == total
        assert (abs(found - weights / weights.sum() * total) < 1).all()
    assert largest_remainder(np.zeros(3), 0).tolist() == [0, 0, 0]


def test_plans_of_classes():
    missing = planned("deficit", [50, 0, 40, 50], 100)
    assert missing.argmax() == 1
    assert missing.tolist() == largest_remainder([1, 51, 11, 1], 100).tolist()
    assert np.ptp(planned("deficit", [30] * 7, 100)) <= 1
    assert planned("uniform", [50, 0, 40, 50], 100).tolist() == [25] * 4
    assert client_gap([10, 0], [0.5, 0.5], 50).tolist() == [0, 5]
    assert client_gap([10, 0, 0], [0.5, 0.25, 0.25], 3).tolist() == [0, 2, 1]
    assert client_gap([4, 4], [0.5, 0.5], 50).tolist() == [0, 0]
    assert labels_of(np.array([2, 0, 1])).tolist() == [0, 0, 2]


# The amount that is hidden, and the band.


def test_the_hidden_amount_is_the_largest():
    generator = np.random.Generator(np.random.Philox(3))
    for _ in range(200):
        work = ServerWork(*(float(each) for each in generator.uniform(1, 9, 3)))
        pool, available_s = int(generator.integers(0, 20)), float(generator.uniform(0, 200))
        amount = work.hidden_amount(available_s, pool, 10**9)
        if work.seconds(0, pool) <= available_s:
            assert work.seconds(amount, pool) <= available_s < work.seconds(amount + 1, pool)
        else:
            assert amount == 0
        assert work.hidden_amount(available_s, pool, 5) == min(amount, 5)
    assert ServerWork(0, 0, 1).hidden_amount(1, 3, 40) == 40


def test_the_optimal_band_is_that_of_a_search():
    problem = LatencyProblem(np.array([0.1, 0.4, 0.2]), 1e5, np.array([0.1, 0.1, 0.2]), np.array([1e8, 3e7, 1e7]), 1e6)
    shares = problem.min_max_shares()
    found = problem.latency_s(shares)
    assert shares.sum() == pytest.approx(1, abs=1e-12)
    assert np.ptp(found) < 1e-9
    grid = np.arange(1, 200) / 200
    a, b = np.meshgrid(grid, grid)
    tried = np.stack([a, b, 1 - a - b])[:, a + b < 1]
    with np.errstate(divide="ignore"):
        rates = rate_bps(tried * 1e6, problem.power_w[:, None], problem.gain_hz_per_w[:, None])
    best = (problem.ready_s[:, None] + 1e5 / rates).max(0).min()
    assert best * 0.98 < found.max() <= best


# Diffusion beside diffusers itself.


@pytest.fixture
def diffusers():
    return pytest.importorskip("diffusers", reason="the package diffusers is not installed")


def module(diffusers, network, parameters):
    own = unet._network(network).module
    plain = diffusers.UNet2DModel.from_config(own.config).eval()
    plain.load_state_dict({name: value.float() for name, value in parameters.items()})
    return plain


def test_training_is_that_of_a_plain_loop(diffusers):
    """The library's module and scheduler, autograd and SGD; the same mini-batches, levels and noise."""
    data, executor = public(), EXECUTORS["eager"]()
    trained = SMALL.train(data, executor, torch.float32)
    network = trained.network
    plain = module(diffusers, network, network.initial(data.streams, torch.float32))
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
    optimiser = torch.optim.SGD(plain.parameters(), 0.05)
    batches = Batches(data.dataset, data.indices, "generator", data.streams, 4, "wrap")
    (xs,), (ys,) = batches.stack(range(3))
    levels = torch.from_numpy(data.streams.generator("noise level", 0).random((3, 4), dtype=np.float32))
    noise = torch.from_numpy(data.streams.generator("noise", 0).random((3, 4, 1, 8, 8), dtype=np.float32))
    low, high = trained.bounds
    for x, y, u, v in zip(xs.tensor(), ys.tensor(), levels, noise, strict=True):
        level, e = (u * 1000).long(), standard_normal(v)
        shown = scheduler.add_noise((x - low) / (high - low) * 2 - 1, e, level)
        optimiser.zero_grad()
        F.mse_loss(plain(shown, level, y).sample, e).backward()
        optimiser.step()
    found = executor.value(trained.parameters)
    start = network.initial(data.streams, torch.float32)
    for name, value in plain.named_parameters():
        assert float((found[name] - value.detach()).abs().max()) < 1e-5, name
    moved = torch.cat([(found[name] - start[name]).flatten() for name in start])
    off = torch.cat([(found[name] - value.detach()).flatten() for name, value in plain.named_parameters()])
    assert float(off.norm() / moved.norm()) < 1e-3


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_sampling_is_that_of_the_library(diffusers, eta):
    data, executor, labels = public(), EXECUTORS["eager"](), np.array([3, 1, 4, 1])
    trained = replace(SMALL, eta=eta).train(data, executor, torch.float32)
    found = executor.value(executor.submit(*trained.sampling(labels, FakeStreams(9), "test")))
    plain = module(diffusers, trained.network, executor.value(trained.parameters))
    u = torch.from_numpy(
        FakeStreams(9).generator("generated", "test").random((3 if eta else 1, 4, 1, 8, 8), dtype=np.float32)
    )
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
    scheduler.set_timesteps(2)
    x = standard_normal(u[0])
    with torch.no_grad():
        for step, level in enumerate(scheduler.timesteps):
            noise = plain(x, level, torch.from_numpy(labels)).sample
            added = standard_normal(u[step + 1]) if eta else None
            x = scheduler.step(noise, level, x, eta=eta, variance_noise=added).prev_sample
    low, high = trained.bounds
    assert float((found - ((x + 1) / 2 * (high - low) + low).clamp(low, high)).abs().max()) < 1e-5
    assert float(found.min()) >= low
    assert float(found.max()) <= high


def test_a_sample_costs_its_denoising_steps(diffusers):
    data, executor, labels = public(), EXECUTORS["dry"](), np.arange(10)
    trained = SMALL.train(data, executor, torch.float32)
    plain = module(diffusers, trained.network, trained.network.initial(data.streams, torch.float32))
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        plain(torch.zeros(1, 1, 8, 8), 5, torch.zeros(1, dtype=torch.int64))
    plan = executor.plan(*trained.sampling(labels, FakeStreams(), "cost"))
    assert executor.cost(plan).flops == 10 * 2 * counted.get_total_flops() > 0
    given = replace(SMALL, flops_per_sample=6_000_000_000).train(data, executor, torch.float32)
    assert executor.cost(executor.plan(*given.sampling(labels, FakeStreams(), "cost"))).flops == 10 * 6_000_000_000


def test_images_that_cannot_be_halved_and_a_missing_library_are_named(diffusers, monkeypatch):
    with pytest.raises(ValueError, match="sides of 8 x 8 pixels cannot be halved 4 times; give fewer channels"):
        replace(SMALL, channels=(8, 8, 8, 8, 8)).check(public())

    def missing(name):
        raise ImportError(name)

    unet.library.cache_clear()
    monkeypatch.setattr(unet, "import_module", missing)
    with pytest.raises(ValueError, match=r"pip install 'netsim-learning\[diffusion\]'"):
        SMALL.check(public())
    unet.library.cache_clear()


def test_executors_generate_the_same(diffusers):
    data, labels = public(), np.arange(5)
    values = []
    for kind in ("eager", "batched"):
        executor = EXECUTORS[kind]()
        trained = SMALL.train(data, executor, torch.float32)
        values.append(executor.value(executor.submit(*trained.sampling(labels, FakeStreams(1), "x"))))
    assert float((values[0] - values[1]).abs().max()) < 1e-3


# Quality.


@cache
def trained_judge() -> tuple[Judge, torch.Tensor]:
    """A classifier that is trained on what no generator sees, and these samples."""
    data = public()
    private = np.setdiff1d(np.arange(len(data.dataset.train.y)), data.indices)
    return Judge.trained(data.dataset, private, FakeStreams(5)), tensors(private, data.dataset)[0]


def quality(generator: Generator, samples: int = 400) -> Quality:
    data, executor = public(), EXECUTORS["eager"]()
    judge, real = trained_judge()
    labels = np.arange(samples) % 10
    work = generator.train(data, executor, torch.float32).sampling(labels, FakeStreams(6), "quality")
    images = executor.value(executor.submit(*work))
    return judge.measure(images, torch.from_numpy(labels), real)


def test_quality_of_generators():
    real, shuffled, mixture = quality(Oracle()), quality(Oracle(0.0)), quality(GaussianMixture())
    assert real.agreement > 0.93
    assert abs(shuffled.agreement - 0.1) < 4 * (0.09 / 400) ** 0.5  # four standard deviations of a binomial share
    assert mixture.agreement >= 0.8
    assert quality(Oracle(0.5)).agreement == pytest.approx(0.55, abs=4 * (0.25 / 400) ** 0.5 + 0.03)
    assert mixture.frechet < 2 * real.frechet


@pytest.mark.slow
def test_quality_of_diffusion(diffusers):
    assert quality(Diffusion()).agreement >= 0.8


def test_frechet_distance_of_gaussians():
    """Of N(m, D) and N(n, E) with diagonal covariances: |m - n|^2 + sum (sqrt d - sqrt e)^2."""
    generator = np.random.Generator(np.random.Philox(4))
    a = generator.normal(size=(200_000, 3)) * [1.0, 2.0, 3.0]
    b = generator.normal(size=(200_000, 3)) * [2.0, 2.0, 1.0] + [1.0, 0.0, 0.0]
    assert frechet_distance(a, b) == pytest.approx(1 + 1 + 4, rel=0.02)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(np.ones((5, 2)), np.ones((5, 2))) == pytest.approx(0, abs=1e-5)


def test_the_mixture_has_the_moments_of_its_class():
    """One Gaussian on all axes: mean and covariance of the class's public samples, from 4000 draws."""
    data, executor = public(torch.float64), EXECUTORS["eager"]()
    described = GaussianMixture(components=1, dimensions=64, regularisation=1e-6)
    trained = described.train(data, executor, torch.float64)._replace(bounds=(-1e9, 1e9))
    labels = np.full(4000, 3)
    images = executor.value(executor.submit(*trained.sampling(labels, FakeStreams(2), "moments"))).flatten(1)
    real = tensors(data.rows_by_class()[3], data.dataset)[0].flatten(1)
    scale = float(real.std(0).max())
    assert float((images.mean(0) - real.mean(0)).abs().max()) < 5 * scale / 4000**0.5
    spread = torch.cov(real.T, correction=0)
    assert float((torch.cov(images.T) - spread).norm() / spread.norm()) < 0.1
