"""Which parameters of a model belong to which expert of which layer, which to a gate, and which to neither."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from learning.adapters import Bound
from learning.models import Segment
from learning.models.experts import MixtureOfExperts, expert_of
from learning.models.segment import modules


class Expert(NamedTuple):
    """One expert of a model."""

    layer: int
    """Number of its layer among the layers with experts, from 0."""
    number: int
    """Number of the expert in its layer, from 0."""

    def __str__(self) -> str:
        return f"expert {self.number} of layer {self.layer}"


@dataclass(frozen=True)
class ExpertParameters:
    """The layers of a model that have experts, and their parameters by name.

    A name is that of a weight, or of a factor of an adapter on it: "2.feed.1.experts.5.fc1.weight" belongs to expert 5
    of the layer "2.feed.1", and so does "2.feed.1.experts.5.fc1.fc1.down". Hashable.
    """

    layers: tuple[str, ...]
    """Names of the layers' mixtures of experts in the order of the model, as `Segment.routed` counts them."""
    count: int
    """Experts of a layer."""
    top_k: int
    """Experts that compute each token."""

    def expert(self, name: str) -> Expert | None:
        """The expert that a parameter belongs to; None if it belongs to none, as that of a shared expert."""
        found = expert_of(name)
        return Expert(self.layers.index(found[0]), found[1]) if found else None

    def gate(self, name: str) -> int | None:
        """Number of the layer whose gate a parameter belongs to; None if it belongs to none."""
        layer, inside, _ = name.partition(".gate.")
        return self.layers.index(layer) if inside and layer in self.layers else None

    @property
    def experts(self) -> list[Expert]:
        """All experts, layer by layer."""
        return [Expert(layer, number) for layer in range(len(self.layers)) for number in range(self.count)]

    def name(self, expert: Expert) -> str:
        """Name of an expert, with which the names of its parameters begin: "2.feed.1.experts.5"."""
        return f"{self.layers[expert.layer]}.experts.{expert.number}"

    def without(self, names: Iterable[str], experts: Iterable[Expert]) -> tuple[str, ...]:
        """Those of the `names` of parameters that do not belong to the given experts, in their order."""
        left_out = set(experts)
        return tuple(name for name in names if self.expert(name) not in left_out)


def expert_parameters(model: Segment | Bound) -> ExpertParameters:
    """The experts of a model, with adapters or without. Raises ValueError if no layer has experts."""
    segment = model.adapted.segment if isinstance(model, Bound) else model
    found = {name: each for name, each in modules(segment).named_modules() if isinstance(each, MixtureOfExperts)}
    if not found:
        raise ValueError("the model has no experts; give learning.model.experts, as in {count: 8, top_k: 2}")
    described = next(iter(found.values())).described
    return ExpertParameters(tuple(found), described.count, described.top_k)
