"""The description of a fusion network that weights modalities by their uncertainty and recovers missing ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval
from torch import nn

from learning.models.uncertainty.estimates import Estimator, Uncertainty, Unimodal, Widths
from learning.models.uncertainty.fusion import Concatenation, Readout, Transformer, WeightedMean
from learning.models.uncertainty.recovery import Recovery, RecoveryRule

Width = Annotated[int, Interval(ge=1, le=1_000_000)]


@dataclass(frozen=True)
class UncertaintyFusion:
    """Fusion network on features of successive windows, by uncertainty: estimates | classifiers of single modalities |
    recovery of missing modalities | fusion | readout.

    Towers give features (windows, d), the present window last, of the same d. A sample without any modality gets the
    prior of the classes.
    """

    # Fang et al., Dynamic uncertainty-aware multimodal fusion, arXiv 2508.09085.

    uncertainty: Uncertainty = "calibrated"
    """What weights are made of: both kinds of noise with calibrated slopes, both uncalibrated, one of them alone
    (calibrated), or nothing, so that all modalities have the same weight."""

    recovery: RecoveryRule = "alignment"
    """How a missing modality is replaced: from the consensus of aligned distributions, from the plain mean of the
    others (`autoencoder`), by a learnt constant (`mean`), by `zero`, or not at all."""

    fusion: Literal["transformer", "late", "concatenation"] = "transformer"
    """Attention with biases on keys, the weighted mean of features, or all features side by side, without weights."""

    common: Width = 16
    """Dimensions of the common space of all modalities."""

    depth: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Layers of the transformer."""

    heads: Annotated[int, Interval(ge=1, le=1000)] = 2
    """Its attention heads; must divide the number of features."""

    temperature: Annotated[float, Gt(0)] = 0.5
    """Temperature of the fusion weights: large ones make them more alike."""

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        """Raises ValueError: it reads the features of towers only."""
        raise ValueError("uncertainty_fusion is a fusion network; give learning.towers")

    def fused(self, widths: Widths, classes: int) -> list[nn.Module]:
        """As a fusion network: features of windows of several modalities to logits (batch, classes).

        `widths` are pairs of modality and number of features. Raises ValueError if these numbers differ, or are no
        multiple of `heads`.
        """
        width = widths[0][1]
        if any(features != width for _, features in widths):
            raise ValueError("uncertainty_fusion needs as many features of each tower as of all others")
        if self.fusion == "transformer" and width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide the {width} features of the towers")
        return [
            Estimator(widths, self.uncertainty),
            Unimodal(widths, classes),
            Recovery(widths, self.common, self.recovery),
            self._fusion(len(widths), width),
            Readout(width, classes),
        ]

    def _fusion(self, modalities: int, width: int) -> nn.Module:
        if self.fusion == "late":
            return WeightedMean(self.temperature)
        if self.fusion == "concatenation":
            return Concatenation(modalities, width)
        return Transformer(modalities, width, self.depth, self.heads, self.temperature)


def stages(fusion: Any) -> tuple[Any, Any, Any, Any]:
    """A fusion network in parts: estimates, classifiers of single modalities, recovery, and fusion with readout."""
    estimate, rest = fusion.cut(1)
    judge, rest = rest.cut(2)
    return estimate, judge, *rest.cut(3)
