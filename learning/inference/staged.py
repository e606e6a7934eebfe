"""A model with experts, in stages, with its weights."""

from __future__ import annotations

from dataclasses import replace

from learning.dispatch.pairs import renamed
from learning.executor.base import Counterparts, Executor
from learning.executor.deferred import Deferred
from learning.models import Segment
from learning.models.stage import experts_of, parameters, stages
from learning.steps import Parameters


class StagedModel:
    """A model with experts, in the parts that a device and sites compute, with their weights."""

    def __init__(self, model: Segment, weights: Parameters) -> None:
        """The whole model and its weights. Raises ValueError if it is no `vit` or `gpt`, or no layer has experts."""
        self.stages = stages(model)
        """Runs of blocks between which experts are called; one more than there are layers with experts."""
        self.trunks = [{name: weights[name] for name in parameters(stage)} for stage in self.stages]
        """Weights of each stage, without experts."""
        self.attended = [{name: weights[name] for name in parameters(each, gated=False)} for each in self.stages[:-1]]
        """The same, of those that end with a layer with experts, without the gates too."""
        last = self.stages[-1]
        self.dense = replace(last, stop=last.stop - 1) if last.blocks > 1 else None
        """The dense layers behind the last one with experts, without the head; None if there are none."""
        self.dense_weights = {name: weights[name] for name in parameters(self.dense)} if self.dense else {}
        """Their weights."""
        mixtures = [f"{stage.stop - 1}.feed.1." for stage in self.stages[:-1]]
        count = range(experts_of(model).count)
        self.experts = [[_within(weights, f"{mixture}experts.{each}.") for each in count] for mixture in mixtures]
        """Weights of each expert, by layer with experts."""
        gates = [f"{mixture}gate.weight" for mixture in mixtures]
        self.gates = [{gate: weights[gate]} for gate in gates]
        """Weights of the gate of each layer with experts."""
        self.shared = [_within(weights, f"{mixture}shared.") for mixture in mixtures]
        """Weights of the shared experts of each layer; empty if there are none."""
        self._values: dict[int, Deferred[Parameters]] = {}

    def value(self, executor: Executor, weights: Parameters) -> Deferred[Parameters]:
        """One of the sets of weights above as one deferred value, by whose form as a whole operations are planned."""
        if id(weights) not in self._values:
            self._values[id(weights)] = executor.submit(renamed, weights, tuple(weights))
        return self._values[id(weights)]


def check_charge(model: Segment, charge: Counterparts | None) -> None:
    """Check a large model whose costs are charged: calls of experts are made once in each layer that it has.

    Raises ValueError unless it has as many layers and experts as the whole model, and as many experts for each token.
    """
    large: Segment = model if charge is None else charge.counterpart(model)
    small_of, large_of = experts_of(model), experts_of(large)
    for what, own, wanted in (
        ("depth", model.blocks - 2, large.blocks - 2),
        ("experts.count", small_of.count, large_of.count),
        ("experts.top_k", small_of.top_k, large_of.top_k),
    ):
        if own != wanted:
            raise ValueError(
                f"the calls of the model in learning.charge_as need learning.model.{what} = {wanted}, not {own}"
            )


def _within(weights: Parameters, prefix: str) -> Parameters:
    return {name: value for name, value in weights.items() if name.startswith(prefix)}
