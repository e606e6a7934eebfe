"""A model with experts, in stages, with its weights."""

from __future__ import annotations

from learning.models import Segment
from learning.models.stage import parameters, stages
from learning.steps import Parameters


class StagedModel:
    """A model with experts, in the parts that a device and sites compute, with their weights."""

    def __init__(self, model: Segment, weights: Parameters) -> None:
        """The whole model and its weights. Raises ValueError if it is no `vit` or `gpt`, or no layer has experts."""
        self.stages = stages(model)
        """Runs of blocks between which experts are called; one more than there are layers with experts."""
        self.trunks = [{name: weights[name] for name in parameters(stage)} for stage in self.stages]
        """Weights of each stage, without experts."""
        mixtures = [f"{stage.stop - 1}.feed.1." for stage in self.stages[:-1]]
        count = range(model.architecture.experts.count)  # type: ignore[attr-defined]  # stages have seen that it has some
        self.experts = [[_within(weights, f"{mixture}experts.{each}.") for each in count] for mixture in mixtures]
        """Weights of each expert, by layer with experts."""
        self.shared = [_within(weights, f"{mixture}shared.") for mixture in mixtures]
        """Weights of the shared experts of each layer; empty if there are none."""


def _within(weights: Parameters, prefix: str) -> Parameters:
    return {name: value for name, value in weights.items() if name.startswith(prefix)}
