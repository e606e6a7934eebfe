"""Recovery of the features of missing modalities from those that are present, in a space that all modalities share."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learning.models.constant import Constant
from learning.models.uncertainty.estimates import LOG_VARIANCES, Judged, Widths
from learning.models.uncertainty.gaussians import MIN_VARIANCE, Gaussian, product
from learning.models.uncertainty.linear import LinearOfEach

RecoveryRule = Literal["alignment", "autoencoder", "mean", "zero", "none"]
"""How the features of a missing modality are replaced."""


class Completed(NamedTuple):
    """The M modalities of b samples, completed; arrays of d features, or of c dimensions of the common space."""

    latent: Tensor
    """Features (b, M, d): those of the modalities that are present, and recovered ones of the others."""
    uncertainty: Tensor
    """Uncertainty (b, M), larger where a modality was recovered."""
    usable: Tensor
    """Which modalities are to be fused, bool (b, M): none where a sample has no modality at all."""
    decoded: Gaussian
    """What the present modalities say about the features of each, (b, M, d) each."""
    projected: Gaussian
    """Each modality in the common space, (b, M, c) each."""
    typical: Tensor
    """Learnt uncertainty of a modality that is missing, (M,), before what its recovery adds."""


class Recovery(nn.Module):
    """Replaces the features of missing modalities by what the present ones say in a common semantic space.

    Each modality is a Gaussian in that space. The consensus is the product of those that are present and a standard
    normal prior, and a decoder for each modality maps its mean to features. The mean variance of the consensus adds to
    the uncertainty: it falls with every modality that is present, and the more, the less noise that has.
    """

    # Fang et al., arXiv 2508.09085; product of experts over modalities: Wu and Goodman, NeurIPS 2018.

    def __init__(self, widths: Widths, common: int, rule: RecoveryRule) -> None:
        super().__init__()
        self.rule = rule
        modalities, width = len(widths), widths[0][1]
        self.project = LinearOfEach(modalities, width, common)
        self.spread = LinearOfEach(modalities, width, common)
        self.decode = nn.Sequential(
            LinearOfEach(modalities, common, width), nn.ReLU(), LinearOfEach(modalities, width, 2 * width)
        )
        self.typical = Constant(modalities, 1.0)

    def forward(self, judged: Judged) -> Completed:
        known = judged.estimates
        variance = F.softplus(self.spread(known.log_variance)) + MIN_VARIANCE
        projected = Gaussian(self.project(known.mean), variance)
        centre, added = self._consensus(projected, known.present)
        mean, log_variance = self.decode(centre[:, None].expand_as(variance)).chunk(2, -1)
        replaced = torch.zeros_like(mean) if self.rule == "zero" else mean
        some = known.present.any(-1, keepdim=True)
        return Completed(
            latent=torch.where(known.present[..., None], known.latent, replaced),
            uncertainty=torch.where(known.present, known.uncertainty, self.typical.value.detach() + added),
            usable=known.present if self.rule == "none" else some.expand_as(known.present),
            decoded=Gaussian(mean, log_variance.clamp(*LOG_VARIANCES).exp()),
            projected=projected,
            typical=self.typical.value,
        )

    def _consensus(self, projected: Gaussian, present: Tensor) -> tuple[Tensor, Tensor]:
        """What is decoded, (b, c), and what recovery adds to the uncertainty, (b, 1)."""
        if self.rule == "alignment":
            consensus = product(projected, present)
            return consensus.mean, consensus.variance.mean(-1, keepdim=True)
        if self.rule == "autoencoder":  # the mean of those that are there, however noisy
            masked = torch.where(present[..., None], projected.mean, torch.zeros_like(projected.mean))
            centre = masked.sum(1) / present.sum(1, keepdim=True).clamp(min=1)
        else:
            centre = torch.zeros_like(projected.mean[:, 0])
        return centre, torch.zeros_like(centre[:, :1])
