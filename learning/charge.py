"""Charging the FLOPs, bits and memory of a large model, while a small one of the same family is trained.

Every value has a counterpart in the large model's shapes, and the cost of an operation is that of running it on the
shapes of the counterparts. Each layer of the small model stands for an equally long run of the large one's layers; both
models have the same number of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from learning.adapters import Adapted, weights
from learning.models import Architecture, Segment

Large = Literal[
    "vit_s16", "vit_s32", "vit_b16", "vit_b32", "vit_l16", "vit_l32", "gpt2", "gpt2_medium", "gpt2_large", "bert_base"
]

VIT_S = {"width": 384, "depth": 12, "heads": 6, "expansion": 4}
VIT_B = {"width": 768, "depth": 12, "heads": 12, "expansion": 4}
VIT_L = {"width": 1024, "depth": 24, "heads": 16, "expansion": 4}
SIZES: dict[Large, dict[str, int]] = {
    "vit_s16": {**VIT_S, "patch": 16},
    "vit_s32": {**VIT_S, "patch": 32},
    "vit_b16": {**VIT_B, "patch": 16},
    "vit_b32": {**VIT_B, "patch": 32},
    "vit_l16": {**VIT_L, "patch": 16},
    "vit_l32": {**VIT_L, "patch": 32},
    "gpt2": {"width": 768, "depth": 12, "heads": 12, "expansion": 4, "vocabulary": 50257},
    "gpt2_medium": {"width": 1024, "depth": 24, "heads": 16, "expansion": 4, "vocabulary": 50257},
    "gpt2_large": {"width": 1280, "depth": 36, "heads": 20, "expansion": 4, "vocabulary": 50257},
    "bert_base": {"width": 768, "depth": 12, "heads": 12, "vocabulary": 30522},
}
"""ViT: Dosovitskiy et al., arXiv 2010.11929, table 1; S: Touvron et al., arXiv 2012.12877, table 1. GPT-2: Radford et
al., 2019, table 2. BERT: Devlin et al., arXiv 1810.04805, section 3."""


@dataclass(frozen=True)
class Charge:
    """A large model whose costs are charged in place of those of a small one.

    Raises ValueError where the two are of different families, or the large model has fewer layers.
    """

    name: Large
    """Name of the large model in `SIZES`."""
    small: Segment
    """The whole small model, which is trained."""

    def __post_init__(self) -> None:
        family = self.name.partition("_")[0].rstrip("2")
        kind = type(self.small.architecture).__name__.lower()
        if getattr(self.small.architecture, "family", kind).rstrip("2") != family:
            raise ValueError(f"{self.name} can be charged for a model of its own family, and this is a {kind}")
        if self._layers(self.large) < self._layers(self.small):
            raise ValueError(
                f"{self.name} has {self._layers(self.large)} layers, fewer than the model that it replaces"
            )

    @cached_property
    def large(self) -> Segment:
        """The whole large model, for as many tokens as the small one has; images have three colours."""
        architecture, shape = self.small.architecture, self.small.input_shape
        size: dict[str, Any] = dict(SIZES[self.name])
        known = {field.name for field in fields(architecture)}  # type: ignore[arg-type]  # architectures are dataclasses
        if len(shape) > 1:
            sides = tuple(side // architecture.patch * size["patch"] for side in shape[1:])  # type: ignore[attr-defined]
            shape = (3, *sides)
        classes = size["vocabulary"] if self.name.startswith("gpt") else self.small.classes
        size = {name: value for name, value in size.items() if name in known} | (
            {"folder": None} if "folder" in known else {}
        )
        changed: Architecture = replace(architecture, **size)  # type: ignore[type-var]
        return Segment(changed, shape, classes, 0, SIZES[self.name]["depth"] + 2)

    def counterpart(self, tree: Any) -> Any:
        """The counterpart of a tree of meta tensors, segments and plain values; values without one are unchanged."""
        return tree_map(self._counterpart, tree, is_leaf=_named)

    def _counterpart(self, each: Any) -> Any:
        if isinstance(each, dict):
            counterparts = [counterpart for name, value in each.items() for counterpart in self._named(name, value)]
            return {
                f"{block}.{rest}": value
                for block, rest, value in sorted(counterparts, key=lambda counterpart: counterpart[0])
            }
        if isinstance(each, Tensor):
            return self._tensor(each)
        if isinstance(each, Segment):
            return replace(self.large, start=self._first(each.start), stop=self._first(each.stop))
        if isinstance(each, Adapted):
            ranks = [(f"{j}.{rest}", r) for name, r in each.ranks for j, rest in self._places(name)]
            return replace(each, segment=self._counterpart(each.segment), ranks=tuple(sorted(ranks)))
        return each

    def _tensor(self, tensor: Tensor) -> Tensor:
        """The counterpart of samples, activations or their gradients; labels, losses and scores are unchanged."""
        shape, sample = tuple(tensor.shape), self.small.input_shape
        if len(sample) > 1 and shape[-len(sample) :] == sample:
            return _like(tensor, (*shape[: -len(sample)], *self.large.input_shape))
        if len(shape) > 2 and shape[-1] == self._widths[0]:
            return _like(tensor, (*shape[:-1], self._widths[1]))
        return tensor

    def _named(self, name: str, value: Any) -> list[tuple[int, str, Any]]:
        """(block, rest of the name, value) of each counterpart of a value named after a parameter or weight."""
        return [(block, rest, self._parameter(f"{block}.{rest}", value)) for block, rest in self._places(name)]

    def _parameter(self, name: str, value: Any) -> Any:
        """The counterpart of a parameter, a weight or a factor of an adapter; a single number is unchanged."""
        if not isinstance(value, Tensor) or value.ndim == 0:
            return value
        if (shape := self._shapes.get(name, self._sides.get(name))) is None:
            weight, _, factor = name.rpartition(".")
            outputs, inputs = self._sides[weight]
            shape = (value.shape[0], inputs) if factor == "down" else (outputs, value.shape[1])
        return _like(value, shape)

    def _places(self, name: str) -> list[tuple[int, str]]:
        """The blocks of the large model in which a name of the small one has its counterparts."""
        block, _, rest = name.partition(".")
        return [(each, rest) for each in range(self._first(int(block)), self._first(int(block) + 1))]

    def _first(self, block: int) -> int:
        """The large model's block at which the counterpart of a block of the small one begins."""
        layers = self._layers(self.small)
        if block == 0:
            return 0
        if block > layers + 1:
            return self._layers(self.large) + 2
        return 1 + round((block - 1) * self._layers(self.large) / layers)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for name, value in self.large.parameters().items()}

    @cached_property
    def _sides(self) -> dict[str, tuple[int, int]]:
        return weights(self.large) | weights(self.large, "qkv")

    def _layers(self, model: Segment) -> int:
        return model.last - 1

    @cached_property
    def _widths(self) -> tuple[int, int]:
        """Length of a token's vector in the small and in the large model."""
        return _width(self.small), _width(self.large)


def _width(model: Segment) -> int:
    dtype = torch.float32 if len(model.input_shape) > 1 else torch.int64
    embedding = replace(model, stop=1)
    one = torch.empty((1, *model.input_shape), dtype=dtype, device="meta")
    return embedding(embedding.parameters(), one).shape[-1]


def _named(tree: Any) -> bool:
    """Whether a tree is a dictionary by names of parameters, weights or adapters."""
    return isinstance(tree, dict) and all(str(name).partition(".")[0].isdigit() for name in tree)


def _like(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=tensor.dtype, device="meta")
