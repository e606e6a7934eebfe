"""The loss of training by uncertainty, term by term. All are means over samples that have what a term is about."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Interval
from torch import Tensor

from learning import steps
from learning.contrastive import contrastive
from learning.data.modalities import Modalities
from learning.draws import standard_normal
from learning.models import Multimodal
from learning.models.towers import own
from learning.models.uncertainty.architecture import stages
from learning.models.uncertainty.estimates import Estimates, Judged
from learning.models.uncertainty.gaussians import (
    MIN_VARIANCE,
    Gaussian,
    divergence_from_standard_normal,
    squared_wasserstein,
)
from learning.models.uncertainty.recovery import Completed
from learning.steps import Parameters


@dataclass(frozen=True)
class Losses:
    """Weights of the terms that are added to the cross-entropy of the fused modalities, and what training draws."""

    unimodal: Annotated[float, Ge(0)] = 0.3
    """Weight of the cross-entropy of each modality alone."""
    calibration: Annotated[float, Ge(0)] = 1.0
    """Weight of the divergence of uncertainties from the losses of single modalities."""
    temporal: Annotated[float, Ge(0)] = 0.1
    """Weight of the negative log-likelihood of the features of the next window."""
    prior: Annotated[float, Ge(0)] = 1e-3
    """Weight of the divergence of features from the standard normal distribution."""
    alignment: Annotated[float, Ge(0)] = 0.1
    """Weight of the distance of modalities in the common space."""
    recovery: Annotated[float, Ge(0)] = 0.1
    """Weight of the error of recovered features."""
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.3
    """Probability that a modality of a sample is left out in training; at least one remains."""
    sampling: bool = True
    """Whether features are drawn from their distribution in training; otherwise their means are used."""
    calibration_temperature: Annotated[float, Gt(0)] = 1.0
    """Temperature of the distributions of losses and of uncertainties over modalities, and over samples."""
    contrast_temperature: Annotated[float, Gt(0)] = 0.1
    """Temperature of the contrastive part of the alignment."""


class Example(NamedTuple):
    """Samples of a mini-batch, with uniform draws for M modalities of d features."""

    x: Modalities
    """Samples."""
    noise: Tensor
    """Draws of features, (samples, M, d)."""
    dropout: Tensor
    """Draws of the modalities that are left out, (samples, M)."""


def first_stage(model: Multimodal, losses: Losses, parameters: Parameters, example: Example, y: Tensor) -> Tensor:
    """Loss of towers, variances and classifiers of single modalities, without fusion."""
    judged = _judged(model, losses, parameters, example)
    return losses.unimodal * _unimodal(judged, y).sum() + losses.prior * _prior(judged.estimates)


def whole_loss(model: Multimodal, losses: Losses, parameters: Parameters, example: Example, y: Tensor) -> Tensor:
    """Loss of the whole model: of the fused modalities that dropout has left, and all weighted terms."""
    judged = _judged(model, losses, parameters, example)
    known = judged.estimates
    kept = remaining(known.present, example.dropout, losses.dropout)
    recover, fuse = stages(model.fusion)[2:]
    completed: Completed = recover(own(recover, parameters), judged._replace(estimates=known._replace(present=kept)))
    errors = _errors(judged, y).detach()
    return (
        steps.mean_loss(fuse(own(fuse, parameters), completed), y)
        + losses.unimodal * _unimodal(judged, y).sum()
        + losses.calibration * mismatch(errors, known.uncertainty, known.present, losses.calibration_temperature)
        + losses.temporal * _temporal(known)
        + losses.prior * _prior(known)
        + losses.alignment * alignment(completed.projected, known, losses.contrast_temperature)
        + losses.recovery * recovery(completed, known, kept)
    )


def remaining(present: Tensor, draws: Tensor, rate: float) -> Tensor:
    """The modalities that dropout leaves, bool (b, M): of those that are present at least one.

    Args:
        present: which are present, bool (b, M).
        draws: uniform draws, (b, M); modalities whose draw is below `rate` are left out.
        rate: probability of being left out.
    """
    kept = present & (draws >= rate)
    drawn = torch.where(present, draws, torch.full_like(draws, -1.0))
    luckiest = present & (drawn == drawn.amax(1, keepdim=True))
    return torch.where(kept.any(1, keepdim=True), kept, luckiest)


def mismatch(errors: Tensor, uncertainty: Tensor, present: Tensor, temperature: float) -> Tensor:
    """How far uncertainties are from telling errors: 0 where they differ by a constant.

    It is the divergence of their softmax distributions over the modalities of a sample, mean over samples, plus that
    over the samples of each modality, mean over modalities.

    Args:
        errors: loss of each modality alone, (b, M).
        uncertainty: its uncertainty, (b, M).
        present: which modalities are present, bool (b, M).
        temperature: of both distributions.
    """
    # Matching of ordinal distributions: Tellamekala et al., COLD Fusion, IEEE TPAMI 2023.
    across = [_divergence(errors / temperature, uncertainty / temperature, present, axis) for axis in (1, 0)]
    return across[0].mean() + across[1].mean()


def _divergence(errors: Tensor, uncertainty: Tensor, present: Tensor, axis: int) -> Tensor:
    """Divergence of softmax(uncertainty) from softmax(errors) along an axis, among what is present; 0 without any."""
    among = present | ~present.any(axis, keepdim=True)
    logs = [torch.log_softmax(each.masked_fill(~among, -torch.inf), axis) for each in (errors, uncertainty)]
    difference = torch.where(present, logs[0] - logs[1], torch.zeros_like(errors))
    return (logs[0].exp() * difference).sum(axis)


def alignment(projected: Gaussian, known: Estimates, temperature: float) -> Tensor:
    """Distance of modalities in the common space, mean over pairs: Wasserstein, and a contrastive loss.

    Pairs of which one is uncertain count less in the former, so that noise does not move the space.
    """
    confidence = torch.exp(-known.uncertainty).detach()
    features = F.normalize(projected.mean, dim=-1)
    terms = []
    for m, n in combinations(range(features.shape[1]), 2):
        both = known.present[:, m] & known.present[:, n]
        one, other = (Gaussian(*(each[:, place] for each in projected)) for place in (m, n))
        distance = squared_wasserstein(one, other) * confidence[:, m] * confidence[:, n]
        directions = (features[:, m], features[:, n]), (features[:, n], features[:, m])
        contrast = sum(contrastive(*pair, temperature, both) for pair in directions)
        terms.append(masked_mean(distance, both) + contrast / 2)
    return torch.stack(terms).mean() if terms else features.new_zeros(())


def recovery(completed: Completed, known: Estimates, kept: Tensor) -> Tensor:
    """Error of what recovery makes of the modalities that dropout has left out, where they are known."""
    left_out = known.present & ~kept
    true = Gaussian(known.mean.detach(), known.log_variance.exp().detach())
    squared = (completed.decoded.mean - true.mean).square().sum(-1) * torch.exp(-known.uncertainty).detach()
    level = (completed.typical - known.uncertainty.detach()).square()
    return masked_mean(squared + squared_wasserstein(completed.decoded, true) + level, left_out)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask is true; 0 if it is nowhere."""
    return torch.where(mask, values, torch.zeros_like(values)).sum() / mask.sum().clamp(min=1)


def _judged(model: Multimodal, losses: Losses, parameters: Parameters, example: Example) -> Judged:
    """Estimates of all modalities with features drawn from their distribution, and what each says by itself."""
    features = model.towers(own(model.towers, parameters), example.x)
    estimate, judge, *_ = stages(model.fusion)
    known: Estimates = estimate(own(estimate, parameters), features)
    if losses.sampling:
        drawn = known.mean + (known.log_variance / 2).exp() * standard_normal(example.noise)
        known = known._replace(latent=drawn)
    judged: Judged = judge(own(judge, parameters), known)
    return judged


def _errors(judged: Judged, y: Tensor) -> Tensor:
    """Cross-entropy of each modality alone, (b, M)."""
    labels = y[:, None].expand(judged.logits.shape[:2])
    return F.cross_entropy(judged.logits.flatten(0, 1), labels.flatten(), reduction="none").reshape(labels.shape)


def _unimodal(judged: Judged, y: Tensor) -> Tensor:
    """Mean cross-entropy of each modality alone, (M,)."""
    errors, present = _errors(judged, y), judged.estimates.present
    return torch.stack([masked_mean(*each) for each in zip(errors.unbind(1), present.unbind(1), strict=True)])


def _prior(known: Estimates) -> Tensor:
    return masked_mean(divergence_from_standard_normal(known.mean, known.log_variance), known.present)


def _temporal(known: Estimates) -> Tensor:
    """Half the squared standardised deviation plus the log variance of what was expected, summed over features."""
    variance = known.expected.variance + MIN_VARIANCE
    deviation = (known.mean.detach() - known.expected.mean).square() / variance
    return masked_mean(0.5 * (deviation + variance.log()).sum(-1), known.present)
