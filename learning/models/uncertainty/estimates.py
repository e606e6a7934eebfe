"""Uncertainty of each modality of a sample, from the noise of its input and from its fluctuation over time."""

from __future__ import annotations

from math import expm1, log
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learning.data.modalities import Modalities
from learning.models.constant import Constant
from learning.models.uncertainty.gaussians import Gaussian, surprise
from learning.models.uncertainty.linear import LinearOfEach

LOG_VARIANCES = -6.0, 4.0
"""Bounds of the logarithms of variances."""
ONE = log(expm1(1.0))
"""The number whose softplus is 1."""

Widths = tuple[tuple[str, int], ...]
"""Pairs of modality and number of features, in the order of the modalities."""
Uncertainty = Literal["calibrated", "uncalibrated", "input", "fluctuation", "none"]
"""What the uncertainty of a modality is made of."""


class Estimates(NamedTuple):
    """What is known of the M modalities of b samples; arrays of d features."""

    latent: Tensor
    """Features of the present window (b, M, d): their means, or in training a sample of their distribution."""
    mean: Tensor
    """Means of the features, (b, M, d)."""
    log_variance: Tensor
    """Logarithms of their variances, (b, M, d), predicted from the present window: input noise."""
    expected: Gaussian
    """The features that the windows before let expect, (b, M, d) each."""
    uncertainty: Tensor
    """Uncertainty of each modality, at least 0, (b, M)."""
    present: Tensor
    """Whether a sample has the modality, bool (b, M)."""


class Estimator(nn.Module):
    """Estimates the uncertainty of each modality from its features of successive windows.

    Input noise is the mean variance that a linear head predicts for the features of the present window. Fluctuation is
    the surprise at them, given those of the windows before. Both are combined by calibrated weights.
    """

    # Fang et al., arXiv 2508.09085. Variance heads: Kendall and Gal, NeurIPS 2017.

    def __init__(self, widths: Widths, kind: Uncertainty) -> None:
        super().__init__()
        self.order = tuple(name for name, _ in widths)
        modalities, width = len(widths), widths[0][1]
        self.spread = LinearOfEach(modalities, width, width)
        self.predict = Predictor(modalities, width)
        self.calibrate = Calibration(modalities, kind)

    def forward(self, x: Modalities) -> Estimates:
        """Map features (b, windows, d) of modalities to their estimates. At least one modality must be there."""
        some = next(iter(x.values.values()))
        windows = torch.stack([x.values.get(name, torch.zeros_like(some)) for name in self.order], 2)
        absent = torch.zeros_like(some[:, 0, 0], dtype=torch.bool)
        present = [x.present[name] if name in x.values else absent for name in self.order]
        mean, earlier = windows[:, -1], windows[:, :-1].detach()
        log_variance = self.spread(mean).clamp(*LOG_VARIANCES)
        expected: Gaussian = self.predict(earlier)
        fluctuation = surprise(mean, expected).detach()
        uncertainty = self.calibrate(log_variance.exp().mean(-1), fluctuation)
        return Estimates(mean, mean, log_variance, expected, uncertainty, torch.stack(present, 1))


class Predictor(nn.Module):
    """Recurrent networks that predict features from those of earlier windows: a gated recurrent unit for each modality.

    They are written as matrix products, so that they vectorise over users. Without earlier windows they predict from a
    state of zeros.
    """

    # Cho et al., EMNLP 2014; the reset gate acts on the product, as in torch.nn.GRU.

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.inward = LinearOfEach(modalities, width, 3 * width)
        self.recurrent = LinearOfEach(modalities, width, 3 * width)
        self.outward = LinearOfEach(modalities, width, 2 * width)

    def forward(self, earlier: Tensor) -> Gaussian:
        """Map features (b, windows, M, d), the oldest first, to the distribution of the next, (b, M, d)."""
        state = earlier.new_zeros(len(earlier), *earlier.shape[2:])
        for inward in self.inward(earlier).unbind(1):
            reset, update, new = inward.chunk(3, -1)
            own_reset, own_update, own_new = self.recurrent(state).chunk(3, -1)
            update = torch.sigmoid(update + own_update)
            new = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
            state = (1 - update) * new + update * state
        mean, log_variance = self.outward(state).chunk(2, -1)
        return Gaussian(mean, log_variance.clamp(*LOG_VARIANCES).exp())


class Calibration(nn.Module):
    """Uncertainty softplus(a log(input noise) + b log(1 + fluctuation) + c), with learnt a, b >= 0 and c by modality.

    All modalities begin with a = b = 1 and c = 0, where `uncalibrated` stays. Without input noise or fluctuation, a or
    b is 0; `none` is the same uncertainty, 0, for all.
    """

    def __init__(self, modalities: int, kind: Uncertainty) -> None:
        super().__init__()
        self.kind = kind
        if kind in ("calibrated", "input"):
            self.noise = Constant(modalities, ONE)
        if kind in ("calibrated", "fluctuation"):
            self.change = Constant(modalities, ONE)
        if kind in ("calibrated", "input", "fluctuation"):
            self.offset = Constant(modalities)

    def forward(self, input_noise: Tensor, fluctuation: Tensor) -> Tensor:
        """Map input noise and fluctuation (b, M) to the uncertainty (b, M)."""
        if self.kind == "none":
            return torch.zeros_like(input_noise)
        noise, change = input_noise.log(), fluctuation.log1p()
        if self.kind == "uncalibrated":
            return F.softplus(noise + change)
        level: Tensor = self.offset.value
        if self.kind in ("calibrated", "input"):
            level = level + F.softplus(self.noise.value) * noise
        if self.kind in ("calibrated", "fluctuation"):
            level = level + F.softplus(self.change.value) * change
        return F.softplus(level)


class Judged(NamedTuple):
    """Estimates, and what each modality by itself says about the class."""

    estimates: Estimates
    logits: Tensor
    """Logits of the classes by each modality alone, (b, M, classes)."""


class Unimodal(nn.Module):
    """A linear classifier on the features of each modality alone; by their losses uncertainties are calibrated."""

    def __init__(self, widths: Widths, classes: int) -> None:
        super().__init__()
        self.classify = LinearOfEach(len(widths), widths[0][1], classes)

    def forward(self, estimates: Estimates) -> Judged:
        return Judged(estimates, self.classify(estimates.latent))
