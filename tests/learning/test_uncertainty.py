"""Fusion by uncertainty: Gaussians in closed form, surprise, calibration, fusion weights, attention and recovery."""

from itertools import combinations
from math import exp, log, log1p

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from learning.data import Modalities
from learning.models import UncertaintyFusion
from learning.models.segment import Segment, chain
from learning.models.towers import Fusion, own
from learning.models.uncertainty.estimates import Calibration, Estimates, Judged, Predictor
from learning.models.uncertainty.fusion import Fused, Transformer, WeightedAttention, WeightedMean, log_weights
from learning.models.uncertainty.gaussians import (
    Gaussian,
    divergence_from_standard_normal,
    product,
    squared_wasserstein,
    surprise,
)
from learning.models.uncertainty.recovery import Completed, Recovery

WIDTHS = (("one", 8), ("two", 8), ("three", 8))
M, D, CLASSES = 3, 8, 4


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def module(built: nn.Module, seed: int = 0) -> nn.Module:
    """The module in float64 with drawn parameters."""
    torch_seed = torch.Generator().manual_seed(seed)
    built = built.double()
    for parameter in built.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch_seed, dtype=torch.float64) * 0.4
    return built


# ---------------------------------------------------------------- Gaussians


def test_divergence_is_the_integral() -> None:
    """One dimension, by quadrature; and 0 for the standard normal distribution itself."""
    mean, variance = 0.7, 0.3
    x = np.linspace(-9, 9, 200_001)
    density = norm.pdf(x, mean, variance**0.5)
    integral = np.trapezoid(density * (norm.logpdf(x, mean, variance**0.5) - norm.logpdf(x)), x)
    found = divergence_from_standard_normal(torch.tensor([mean]).double(), torch.tensor([log(variance)]).double())
    assert float(found) == pytest.approx(integral, rel=1e-8)
    assert float(divergence_from_standard_normal(torch.zeros(5), torch.zeros(5))) == 0


def test_wasserstein_distance_is_that_of_quantiles() -> None:
    """One dimension: the mean squared difference of quantiles. It is 0 for equal Gaussians only, and symmetric."""
    one, other = Gaussian(drawn(6, seed=1), uniform(6, seed=2) + 0.1), Gaussian(drawn(6, seed=3), uniform(6) + 0.1)
    level = (np.arange(200_000) + 0.5) / 200_000
    total = sum(
        np.mean((norm.ppf(level, a, s**0.5) - norm.ppf(level, b, t**0.5)) ** 2)
        for a, s, b, t in zip(*one, *other, strict=True)
    )
    assert float(squared_wasserstein(one, other)) == pytest.approx(total, rel=1e-3)
    assert float(squared_wasserstein(one, one)) == 0
    assert torch.equal(squared_wasserstein(one, other), squared_wasserstein(other, one))
    for changed in (one._replace(mean=other.mean), one._replace(variance=other.variance)):
        assert float(squared_wasserstein(one, changed)) > 0


def test_product_of_experts_in_closed_form() -> None:
    a, s = drawn(2, M, 5), uniform(2, M, 5) + 0.1
    present = torch.tensor([[True, True, False], [False, False, False]])
    found = product(Gaussian(a, s), present)
    p = 1 / s[0]
    torch.testing.assert_close(found.mean[0], (p[0] * a[0, 0] + p[1] * a[0, 1]) / (1 + p[0] + p[1]))
    torch.testing.assert_close(found.variance[0], 1 / (1 + p[0] + p[1]))
    assert torch.equal(found.mean[1], torch.zeros(5).double())  # the prior
    assert torch.equal(found.variance[1], torch.ones(5).double())


def test_a_further_expert_never_adds_variance() -> None:
    experts = Gaussian(drawn(1, M, 5), uniform(1, M, 5, seed=4) * 10 + 1e-3)
    for size in range(M):
        for members in combinations(range(M), size):
            present = torch.zeros(1, M, dtype=torch.bool)
            present[0, list(members)] = True
            before = product(experts, present).variance
            for further in set(range(M)) - set(members):
                more = present.clone()
                more[0, further] = True
                assert (product(experts, more).variance < before).all()


# ---------------------------------------------------------------- fluctuation


def test_surprise_is_one_on_average_and_one_plus_c_squared_at_a_jump() -> None:
    """White noise of the expected variance, 10^4 draws: the mean has standard error sqrt(2 / (n d)), 0.5 %."""
    variance = uniform(1, D, seed=5) + 0.2
    values = drawn(10_000, D, seed=6) * variance.sqrt() + 0.3
    expected = Gaussian(torch.full((1, D), 0.3).double(), variance)
    found = surprise(values, expected)
    assert float(found.mean()) == pytest.approx(1, abs=5 * (2 / (10_000 * D)) ** 0.5)
    for c in (2.0, 5.0):
        jumped = surprise(values + c * variance.sqrt(), expected)
        assert float(jumped.mean()) == pytest.approx(1 + c**2, rel=0.02)
    assert float(surprise(expected.mean, expected)) == 0


def test_the_predictor_is_torchs_recurrent_unit() -> None:
    """A torch.nn.GRU with the same weights, and a linear map; without earlier windows its state is zero."""
    ours = module(Predictor(2, D))
    weights, earlier = dict(ours.named_parameters()), drawn(5, 6, 2, D)
    found, empty = ours(earlier), ours(earlier[:, :0])
    for modality in range(2):
        theirs = nn.GRU(D, D, batch_first=True).double()
        for name, own_name in (("ih", "inward"), ("hh", "recurrent")):
            for field in ("weight", "bias"):
                getattr(theirs, f"{field}_{name}_l0").data = weights[f"{own_name}.{field}"].data[modality]
        outward, bias = (weights[f"outward.{field}"][modality] for field in ("weight", "bias"))
        mean, log_variance = (theirs(earlier[:, :, modality])[1][0] @ outward.T + bias).chunk(2, -1)
        torch.testing.assert_close(found.mean[:, modality], mean)
        torch.testing.assert_close(found.variance[:, modality], log_variance.clamp(-6, 4).exp())
        torch.testing.assert_close(empty.mean[0, modality], bias[:D])


def test_a_learnt_predictor_tells_a_jump_from_usual_variation() -> None:
    """Constant features with small noise: surprise about 1 in usual windows, 1 + c^2 at a jump, and back to it when the
    jump has left the history."""
    history, level, sigma, c = 4, 0.5, 0.1, 8.0
    draw = torch.Generator().manual_seed(1)
    predictor = module(Predictor(1, 2)).float()
    optimiser = torch.optim.Adam(predictor.parameters(), lr=0.02)
    for _ in range(400):
        windows = level + sigma * torch.randn(256, history + 1, 1, 2, generator=draw)
        expected = predictor(windows[:, :-1])
        loss = ((windows[:, -1] - expected.mean).square() / expected.variance + expected.variance.log()).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    series = level + sigma * torch.randn(2000, 2 * history + 2, 1, 2, generator=draw)
    series[:, history] += c * sigma
    with torch.no_grad():
        found = [
            float(surprise(series[:, at], predictor(series[:, at - history : at])).mean())
            for at in range(history, 2 * history + 2)
        ]
    assert found[0] == pytest.approx(1 + c**2, rel=0.15)
    assert found[-1] == pytest.approx(1, abs=0.25)


# ---------------------------------------------------------------- calibration


def test_uncertainty_in_closed_form() -> None:
    noise, change = torch.tensor([[0.5, 2.0]]).double(), torch.tensor([[0.1, 3.0]]).double()
    plain = [[log1p(n * (1 + f)) for n, f in zip(noise[0].tolist(), change[0].tolist(), strict=True)]]
    for kind in ("calibrated", "uncalibrated"):
        np.testing.assert_allclose(Calibration(2, kind).double()(noise, change).detach(), plain, rtol=1e-6)
    of_input, of_change = (Calibration(2, kind).double() for kind in ("input", "fluctuation"))  # type: ignore[arg-type]
    np.testing.assert_allclose(of_input(noise, change).detach(), noise.log1p(), rtol=1e-6)
    np.testing.assert_allclose(of_change(noise, change).detach(), (2 + change).log(), rtol=1e-6)
    assert not Calibration(2, "none")(noise, change).any()
    assert list(Calibration(2, "uncalibrated").parameters()) == []


def test_calibrated_slopes_are_never_negative() -> None:
    """More noise, or more fluctuation, is never less uncertain, whatever the parameters."""
    noise = torch.linspace(0.01, 9, 50).double()[:, None].expand(50, 2)
    for seed in range(20):
        calibrate = module(Calibration(2, "calibrated"), seed)
        for given in ((noise, torch.full_like(noise, 0.3)), (torch.full_like(noise, 0.3), noise)):
            assert (calibrate(*given).diff(dim=0) >= 0).all()


# ---------------------------------------------------------------- weights


def test_weights_in_closed_form() -> None:
    uncertainty = torch.tensor([[0.2, 1.0, 3.0]] * 3, dtype=torch.float64)
    usable = torch.tensor([[True, True, True], [True, False, True], [False, False, False]])
    weights = log_weights(uncertainty, usable, 0.5).exp()
    powers = [exp(-0.4), exp(-2), exp(-6)]
    np.testing.assert_allclose(weights[0], [each / sum(powers) for each in powers], rtol=1e-12)
    rest = powers[0] + powers[2]
    np.testing.assert_allclose(weights[1], [powers[0] / rest, 0, powers[2] / rest], rtol=1e-12)
    assert float(weights[1, 1]) == 0
    np.testing.assert_allclose(weights[2], [each / sum(powers) for each in powers], rtol=1e-12)  # no NaN


def test_equal_uncertainty_is_equal_weight_exactly() -> None:
    for level in (0.0, 0.7, 12.0):
        equal = log_weights(torch.full((1, 4), level), torch.ones(1, 4).bool(), 0.5).exp()
        assert torch.equal(equal, torch.full((1, 4), 0.25))


def completed(latent: Tensor, uncertainty: Tensor, usable: Tensor | None = None) -> Completed:
    usable = torch.ones_like(uncertainty, dtype=torch.bool) if usable is None else usable
    nothing = Gaussian(latent, latent)
    return Completed(latent, uncertainty, usable, nothing, nothing, uncertainty[0])


def test_without_scores_attention_is_the_weighted_mean_of_values() -> None:
    """Queries and keys are zero, values and output the identity: every token gets sum_m w_m v_m."""
    attention = WeightedAttention(D, 2).double()
    for name, parameter in attention.named_parameters():
        same = torch.eye(D) if name in ("value.weight", "outward.weight") else torch.zeros(parameter.shape)
        parameter.data = same.double()
    tokens, bias = drawn(4, 1 + M, D), torch.log_softmax(drawn(4, M, seed=1), -1)
    expected = (bias.exp()[..., None] * tokens[:, 1:]).sum(1)
    torch.testing.assert_close(attention(tokens, bias), expected[:, None].expand(4, 1 + M, D), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["transformer", "late"])
@pytest.mark.parametrize("how", ["uncertain", "unusable"])
def test_a_modality_without_weight_has_no_influence(kind: str, how: str) -> None:
    fuse = Transformer(M, D, 2, 2, 0.5) if kind == "transformer" else WeightedMean(0.5)
    fuse, latent = module(fuse), drawn(6, M, D)
    uncertainty, usable = uniform(6, M), torch.ones(6, M, dtype=torch.bool)
    if how == "uncertain":
        uncertainty[:, 1] = 1e6
    else:
        usable[:, 1] = False
    changed = latent.clone()
    changed[:, 1] = 100 * drawn(6, D, seed=9)
    one, other = (fuse(completed(each, uncertainty, usable)) for each in (latent, changed))
    torch.testing.assert_close(one.features, other.features, atol=1e-6, rtol=0)
    assert not torch.allclose(fuse(completed(changed, uniform(6, M))).features, one.features)


def test_one_modality_is_taken_as_it_is() -> None:
    latent = drawn(5, 1, D)
    fused: Fused = WeightedMean(0.5)(completed(latent, uniform(5, 1)))
    assert torch.equal(fused.features, latent[:, 0])


# ---------------------------------------------------------------- recovery


def known(latent: Tensor, present: Tensor, seed: int = 3) -> Judged:
    shape = latent.shape
    uncertainty = uniform(*shape[:2], seed=seed)
    log_variance = drawn(*shape, seed=seed + 1)
    estimates = Estimates(latent, latent, log_variance, Gaussian(latent, latent), uncertainty, present)
    return Judged(estimates, latent[..., :CLASSES])


@pytest.mark.parametrize("rule", ["alignment", "autoencoder", "mean", "zero", "none"])
def test_recovered_features_do_not_depend_on_what_is_missing(rule: str) -> None:
    """The mask test: whatever stands for a missing modality, nothing of it is read; the present ones are unchanged."""
    recover = module(Recovery(WIDTHS, 5, rule))  # type: ignore[arg-type]
    present = torch.tensor([[True, False, True], [False, True, False], [True, True, True], [False, False, False]])
    latent = drawn(4, M, D)
    changed = torch.where(present[..., None], latent, 50 * drawn(4, M, D, seed=8))
    one, other = (recover(known(each, present)) for each in (latent, changed))
    assert torch.equal(one.latent, other.latent)
    assert torch.equal(one.uncertainty, other.uncertainty)
    assert torch.equal(one.latent[present], latent[present])
    assert torch.equal(one.uncertainty[present], known(latent, present).estimates.uncertainty[present])
    some = present.any(1, keepdim=True).expand(4, M)
    assert torch.equal(one.usable, present if rule == "none" else some)
    if rule == "zero":
        assert not one.latent[~present].any()


def test_recovery_is_the_decoded_consensus_and_adds_its_variance() -> None:
    recover = module(Recovery(WIDTHS, 5, "alignment"))
    present = torch.tensor([[True, False, True]])
    judged = known(drawn(1, M, D), present)
    found = recover(judged)
    consensus = product(found.projected, present)
    decoded = recover.decode(consensus.mean[:, None].expand(1, M, 5))
    torch.testing.assert_close(found.latent[:, 1], decoded[:, 1, :D])
    level = recover.typical.value[1] + consensus.variance.mean()
    torch.testing.assert_close(found.uncertainty[0, 1], level)
    rough, clean = (
        judged._replace(estimates=judged.estimates._replace(log_variance=v))
        for v in (drawn(1, M, D) + 4, drawn(1, M, D) - 4)
    )
    recover.spread.weight.data = torch.eye(5, D).double().expand(M, 5, D)
    assert recover(rough).uncertainty[0, 1] > recover(clean).uncertainty[0, 1]  # less noise in the others


def test_the_mean_of_the_present_ones_decides_without_alignment() -> None:
    recover = module(Recovery(WIDTHS, 5, "autoencoder"))
    present = torch.tensor([[True, False, True]])
    found = recover(known(drawn(1, M, D), present))
    centre = (found.projected.mean[:, 0] + found.projected.mean[:, 2]) / 2
    torch.testing.assert_close(found.latent[:, 1], recover.decode(centre[:, None].expand(1, M, 5))[:, 1, :D])
    torch.testing.assert_close(found.uncertainty[0, 1], recover.typical.value[1])


# ---------------------------------------------------------------- the whole network


def network(**fields: str) -> tuple[Segment, dict[str, Tensor]]:
    whole = chain(Fusion(UncertaintyFusion(**fields), WIDTHS), (M * D,), CLASSES, "fusion")  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(2)
    return whole, {
        name: 0.4 * torch.randn(each.shape, generator=draw, dtype=torch.float64)
        for name, each in whole.parameters().items()
    }


def features(samples: int = 6, windows: int = 4) -> Modalities:
    values = {name: drawn(samples, windows, D, seed=place) for place, (name, _) in enumerate(WIDTHS)}
    return Modalities(values, {name: torch.ones(samples, dtype=torch.bool) for name in values})


@pytest.mark.parametrize("fusion", ["transformer", "late", "concatenation"])
def test_what_is_left_out_is_what_is_masked(fusion: str) -> None:
    """An array that is left out, and one whose samples are all absent, are the same to the network."""
    whole, weights = network(fusion=fusion)
    x = features()
    masked = Modalities(x.values, {**x.present, "two": torch.zeros(6, dtype=torch.bool)})
    left_out = Modalities({name: x.values[name] for name in ("one", "three")}, masked.present)
    torch.testing.assert_close(whole(weights, masked), whole(weights, left_out), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(whole(weights, masked), whole(weights, x))


@pytest.mark.parametrize("recovery", ["alignment", "none"])
@pytest.mark.parametrize("fusion", ["transformer", "late", "concatenation"])
def test_without_any_modality_the_answer_is_the_prior(fusion: str, recovery: str) -> None:
    """No NaN, forward or backward; other samples of the mini-batch are not touched."""
    whole, weights = network(fusion=fusion, recovery=recovery)
    x = features()
    some = torch.tensor([True, False, True, True, False, True])
    gone = Modalities(x.values, dict.fromkeys(x.values, some))
    for each in weights.values():
        each.requires_grad_()
    logits = whole(weights, gone)
    prior = weights["fusion.4.prior.value"]
    assert torch.equal(logits[~some], prior.expand(2, CLASSES))
    torch.testing.assert_close(logits[some], whole(weights, x)[some], rtol=1e-12, atol=1e-12)
    logits.square().sum().backward()
    assert all(each.grad is None or bool(each.grad.isfinite().all()) for each in weights.values())


def test_widths_must_agree() -> None:
    with pytest.raises(ValueError, match="as many features of each tower"):
        UncertaintyFusion().fused((("one", 8), ("two", 4)), 3)
    with pytest.raises(ValueError, match="heads = 3 does not divide the 8 features"):
        UncertaintyFusion(heads=3).fused(WIDTHS, 3)
    with pytest.raises(ValueError, match=r"give learning\.towers"):
        UncertaintyFusion().blocks((8,), 3)


def test_parts_hold_all_parameters() -> None:
    whole, weights = network()
    front, back = whole.cut(2)
    assert {**own(front, weights), **own(back, weights)}.keys() == weights.keys()
