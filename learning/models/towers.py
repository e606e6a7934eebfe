"""A model of several modalities: a tower for each, and a fusion network on their features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.utils._pytree import register_pytree_node

from learning.data.dataset import Dataset
from learning.data.modalities import Modalities, masked
from learning.models.architecture import Architecture
from learning.models.segment import chain, check_logits, check_reads
from learning.ports import Streams

Parameters = dict[str, Tensor]
FUSION = "fusion"
"""Name of the part on the features of all towers."""


@dataclass(frozen=True)
class Tower:
    """The tower of one modality: a model whose outputs are features instead of logits."""

    model: Architecture
    """The model of the modality's arrays, as a sequence of blocks."""
    features: Annotated[int, Interval(ge=1, le=1_000_000)] = 32
    """Width of its output."""


@dataclass(frozen=True)
class Towers:
    """Parallel towers: a pure function of their parameters and a batch of several modalities."""

    towers: tuple[Any, ...]
    """One segment for each modality, of that name, with adapters or without; their order is that of the features."""

    def __call__(self, params: Parameters, x: Modalities) -> Modalities:
        """Map the arrays of `x` to features (batch, features), with the presence masks as they are.

        Towers of modalities of which `x` has no values are not computed; modalities without a tower are ignored.
        """
        here = [tower for tower in self.towers if tower.name in x.values]
        values = {tower.name: tower(own(tower, params), x.values[tower.name]) for tower in here}
        return Modalities(values, {tower.name: x.present[tower.name] for tower in self.towers})

    def parameters(self) -> Parameters:
        """Parameters of all towers as meta tensors: names, shapes and torch's default dtype, no values."""
        return {name: value for tower in self.towers for name, value in tower.parameters().items()}

    @property
    def parameter_count(self) -> int:
        """Number of scalars in the parameters of all towers."""
        return int(sum(tower.parameter_count for tower in self.towers))

    def initial(self, streams: Streams, dtype: torch.dtype = torch.float32) -> Parameters:
        """Initial parameters, drawn from streams of their own names."""
        return {name: value for tower in self.towers for name, value in tower.initial(streams, dtype).items()}


@dataclass(frozen=True)
class Multimodal:
    """Towers and the fusion network on their features: a whole model, which can be cut between the two."""

    towers: Towers
    """The towers of all modalities that the model reads."""
    fusion: Any
    """The fusion network, a segment whose first block takes the features of all towers; with adapters or without."""

    def __call__(self, params: Parameters, x: Modalities) -> Tensor:
        """Map modalities to logits (batch, classes)."""
        logits: Tensor = self.fusion(own(self.fusion, params), self.towers(own(self.towers, params), x))
        return logits

    @property
    def parts(self) -> tuple[Any, ...]:
        """The towers in the order in which they are given, then the fusion network."""
        return (*self.towers.towers, self.fusion)

    def parameters(self) -> Parameters:
        """All parameters as meta tensors: names, shapes and torch's default dtype, no values."""
        parameters: Parameters = self.towers.parameters() | self.fusion.parameters()
        return parameters

    @property
    def parameter_count(self) -> int:
        """Number of scalars in all parameters."""
        return int(self.towers.parameter_count + self.fusion.parameter_count)

    def initial(self, streams: Streams, dtype: torch.dtype = torch.float32) -> Parameters:
        """Initial parameters, drawn from streams of their own names."""
        initial: Parameters = self.towers.initial(streams, dtype) | self.fusion.initial(streams, dtype)
        return initial

    def cut(self, at: int) -> tuple[Towers, Any]:
        """All towers as the front, and the fusion network as the back. Raises ValueError unless `at` is 1."""
        if at != 1:
            raise ValueError(f"cut {at} is not between towers and fusion network; possible cuts: 1")
        return self.towers, self.fusion


register_pytree_node(Towers, lambda towers: (list(towers.towers), None), lambda parts, _: Towers(tuple(parts)))
register_pytree_node(
    Multimodal, lambda whole: ([whole.towers, whole.fusion], None), lambda parts, _: Multimodal(*parts)
)


def own(part: Any, params: Parameters) -> Parameters:
    """The parameters of a whole model that belong to a part of it. Raises KeyError if one is missing."""
    return {name: params[name] for name in part.parameters()}


class Concatenate(nn.Module):
    """Concatenates the features of all modalities in a fixed order, with zeros where a sample lacks a modality.

    The features of an absent modality therefore have no influence and no gradient.
    """

    def __init__(self, widths: tuple[tuple[str, int], ...]) -> None:
        """`widths` are pairs of modality and number of features."""
        super().__init__()
        self.widths = widths

    def forward(self, x: Modalities) -> Tensor:
        """Map features (batch, width) of each modality to (batch, sum of widths). At least one must be there.

        Raises ValueError for sequences of features.
        """
        some = next(iter(x.values.values()))
        if some.ndim != 2:
            raise ValueError("towers give sequences of features, which this fusion network does not read")
        columns = [
            masked(x.values[name], x.present[name]) if name in x.values else some.new_zeros(len(some), width)
            for name, width in self.widths
        ]
        return torch.cat(columns, dim=-1)


@runtime_checkable
class ReadsTokens(Protocol):
    """An architecture that reads the towers' outputs as sequences of tokens (batch, tokens, features)."""

    def fused(self, widths: tuple[tuple[str, int], ...], classes: int) -> list[nn.Module]:
        """The blocks of a fusion network, of which the first takes the tokens of several modalities.

        `widths` are pairs of modality and number of features; the last block gives logits (batch, classes).
        """
        ...


@dataclass(frozen=True)
class Fusion:
    """The architecture of a fusion network: a model on the concatenated features of all towers."""

    # Ngiam et al., Multimodal deep learning, ICML 2011.

    model: Architecture
    """The model of the concatenated features."""
    widths: tuple[tuple[str, int], ...]
    """Pairs of modality and number of features."""

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        """The blocks of the model; the first also concatenates. A model that reads tokens has its own."""
        if isinstance(self.model, ReadsTokens):
            return self.model.fused(self.widths, classes)
        first, *others = self.model.blocks(input_shape, classes)
        return [nn.Sequential(Concatenate(self.widths), first), *others]


def multimodal(towers: Mapping[str, Tower], fusion: Architecture, dataset: Dataset) -> Multimodal:
    """The whole model with these towers for the samples and classes of a data set.

    Args:
        towers: Modality -> its tower, in the order of the features; a modality without a tower is not read.
        fusion: The fusion network on the features of all towers.
        dataset: What the model is for; only shapes, number formats and the number of classes count.

    Raises:
        ValueError: there is a tower for what is no modality of the data set, one cannot read its modality or is called
            `fusion`, or the fusion network does not give logits for each label.
    """
    sides, shapes = [], dataset.modalities
    for name, tower in towers.items():
        if name == FUSION:
            raise ValueError("there is a tower for fusion, which is the name of the part behind the towers")
        if name not in shapes:
            has = f"the modalities {', '.join(shapes)}" if shapes else "samples that are single arrays"
            raise ValueError(f"there is a tower for {name}, but {dataset.name} has {has}")
        sides.append(chain(tower.model, shapes[name], tower.features, name))
        check_reads(sides[-1], dataset.train.arrays[f"values.{name}"], dataset.name)
    widths = tuple((name, tower.features) for name, tower in towers.items())
    width = sum(tower.features for tower in towers.values())
    model = Multimodal(Towers(tuple(sides)), chain(Fusion(fusion, widths), (width,), dataset.classes, FUSION))
    check_logits(model, dataset)
    return model
