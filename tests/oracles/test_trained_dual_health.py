"""What a model that is trained by uncertainty has learnt: whom it trusts, how well it knows, and what it recovers."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from learning.data import Modalities
from learning.data.health import SENSORS
from learning.models.towers import own
from learning.models.uncertainty.architecture import stages
from learning.models.uncertainty.estimates import Estimates, Judged
from learning.models.uncertainty.fusion import log_weights
from learning.models.uncertainty.gaussians import Gaussian
from learning.models.uncertainty.recovery import Recovery
from learning.schemes.dual_health.losses import Losses, recovery
from learning.schemes.dual_health.training import Training
from runs import frame
from scenarios import load, simulate
from scenarios.build import build

PAPER = Path(__file__).parents[2] / "scenarios" / "papers" / "dual_health.yaml"
ORDER = list(SENSORS)
STEPS, FIRST_STAGE = 200, 40


class Trained(NamedTuple):
    world: Any
    model: Any
    weights: dict[str, Tensor]

    def judged(self, x: Modalities) -> Judged:
        estimate, judge, *_ = stages(self.model.fusion)
        known = estimate(own(estimate, self.weights), self.model.towers(own(self.model.towers, self.weights), x))
        judged: Judged = judge(own(judge, self.weights), known)
        return judged

    def accuracy(self, x: Modalities, y: Tensor) -> float:
        return float((self.model(self.weights, x).argmax(-1) == y).double().mean())


@cache
def trained(uncertainty: str = "calibrated") -> Trained:
    """The model of the scenario after some steps, on data with a shorter history."""
    data = {"name": "health", "history": 4, "test_windows": 100}
    changes = {
        "learning.data": data,
        "learning.model.uncertainty": uncertainty,
        "learning.optimiser.learning_rate": 0.003,
    }
    scenario = load(PAPER, changes)
    process: Any = build(scenario).process
    world = process.gi_frame.f_locals["scheme"].gi_frame.f_locals["world"]
    losses = Losses(calibration=0.0) if uncertainty == "uncalibrated" else Losses()
    training = Training(world, world.whole, losses, FIRST_STAGE)
    training.before(STEPS)
    return Trained(world, world.whole, world.executor.value(training.weights))


def held_out(test_noise: tuple[float, ...], **more: Any) -> tuple[Modalities, Tensor]:
    """Test samples with other noise."""
    data = {"name": "health", "history": 4, "test_windows": 100, "test_noise": list(test_noise), **more}
    described: Any = load(PAPER, {"learning.data": data}).learning
    split = described.data.load(None, torch.float32).test
    return split.x, split.y


def noisier(x: Modalities, name: str, sigma: float) -> Modalities:
    """The samples with noise on the present window of one modality."""
    noise = torch.randn(x.values[name][:, -1:].shape, generator=torch.Generator().manual_seed(1))
    changed = torch.cat([x.values[name][:, :-1], x.values[name][:, -1:] + sigma * noise], 1)
    return Modalities({**x.values, name: changed}, x.present)


SIGMAS = 0.0, 0.5, 1.0, 2.0, 4.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ORDER)
def test_noise_costs_a_modality_its_weight(name: str) -> None:
    """Mean weights over test samples without other noise: they fall strictly, and those of the others rise."""
    model, (x, _) = trained(), held_out((0.0,), jump_rate=0.0)
    means = []
    for sigma in SIGMAS:
        known = model.judged(noisier(x, name, sigma)).estimates
        weights = log_weights(known.uncertainty, known.present, 0.5).exp()
        torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))
        means.append(weights.mean(0))
    place, changes = ORDER.index(name), torch.stack(means).diff(dim=0)
    assert (changes[:, place] < 0).all()
    assert (changes[:, [other for other in range(3) if other != place]] > 0).all()


@pytest.mark.slow
def test_with_noise_it_degrades_less_than_with_equal_weights() -> None:
    (x, y), losses = held_out((0.0,), jump_rate=0.0), {}
    for kind in ("calibrated", "none"):
        model = trained(kind)
        clean = model.accuracy(x, y)
        losses[kind] = [clean - model.accuracy(noisier(x, name, 4.0), y) for name in ORDER]
    assert np.mean(losses["calibrated"]) < np.mean(losses["none"])


@pytest.mark.slow
def test_uncertainty_tells_how_wrong_a_modality_is() -> None:
    """Rank correlation with the loss of the modality alone on held-out samples with noise, mean over modalities."""
    x, y = held_out((0.0, 0.5, 1.0, 2.0))
    found = {}
    for kind in ("calibrated", "uncalibrated"):
        judged = trained(kind).judged(x)
        errors = [F.cross_entropy(judged.logits[:, m], y, reduction="none").detach() for m in range(3)]
        level = judged.estimates.uncertainty.detach()
        found[kind] = np.mean([spearmanr(level[:, m], errors[m]).statistic for m in range(3)])
    assert found["calibrated"] > 0.3
    assert found["calibrated"] > found["uncalibrated"] + 0.03


# ---------------------------------------------------------------- recovery


def recovered(related: bool) -> tuple[float, float]:
    """Error of the recovered second modality on new samples, and its variance; its features are linear in those of the
    first, or independent of them. The decoders and projections alone are trained, by the loss of recovery."""
    d, draw = 4, torch.Generator().manual_seed(3)
    mixing = torch.randn(d, d, generator=draw) / d**0.5
    recover = Recovery((("one", d), ("two", d)), 6, "alignment")
    for parameter in recover.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=draw)
    optimiser = torch.optim.Adam(recover.parameters(), lr=0.01)

    def samples(count: int) -> Judged:
        one = torch.randn(count, d, generator=draw)
        two = one @ mixing if related else torch.randn(count, d, generator=draw) @ mixing
        mean = torch.stack([one, two], 1)
        everywhere, level = torch.ones(count, 2, dtype=torch.bool), torch.zeros(count, 2)
        known = Estimates(mean, mean, torch.full_like(mean, -4.0), Gaussian(mean, mean), level, everywhere)
        return Judged(known, mean)

    kept = torch.tensor([True, False])
    for _ in range(700):
        judged = samples(128)
        known = judged.estimates
        left = kept.expand_as(known.present)
        loss = recovery(recover(judged._replace(estimates=known._replace(present=left))), known, left)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    judged = samples(2000)
    known = judged.estimates
    with torch.no_grad():
        found = recover(judged._replace(estimates=known._replace(present=kept.expand(2000, 2)))).latent[:, 1]
    true = known.mean[:, 1]
    return float((found - true).square().mean()), float((true - true.mean(0)).square().mean())


def test_a_modality_that_follows_from_another_is_recovered() -> None:
    error, variance = recovered(related=True)
    assert error < 0.05 * variance


def test_an_independent_modality_cannot_be_recovered() -> None:
    """Not better than the mean, up to the standard error of 2000 samples: nothing of the target is read."""
    error, variance = recovered(related=False)
    assert error > 0.97 * variance


# ---------------------------------------------------------------- missing at random, and by the radio


def test_a_bad_radio_loses_modalities_together() -> None:
    """Windows are lost in the same fade: lost modalities are correlated, where gaps of sensors are independent."""
    changes = {
        "learning.executor": "dry",
        "learning.scheme.steps": 0,
        "learning.scheme.deadline_s": 0.08,
        "learning.scheme.period_s": 50,
        "network.users.tx_power_dbm": 0,
    }
    transfers = frame(simulate(load(PAPER, changes)), "transfers")
    sent = transfers[transfers.kind.isin(ORDER)].assign(window=transfers.start_s.round(9), late=transfers.lost > 0)
    count = sent.groupby(["user", "kind"]).cumcount()
    late = sent.assign(window=count).pivot_table(index=["user", "window"], columns="kind", values="late")[ORDER]
    within = late - late.groupby("user").transform("mean")
    correlation = np.corrcoef(within.to_numpy(float).T)[np.triu_indices(3, 1)]
    assert late.to_numpy(float).mean() > 0.05
    assert correlation.mean() > 0.2
