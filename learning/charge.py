"""Charging the FLOPs, bits and memory of a large model, while a small one of the same family is trained.

Every value has a counterpart in the large model's shapes, and the cost of an operation is that of running it on the
shapes of the counterparts. Each layer of the small model stands for an equally long run of the large one's layers, and
each expert for an equally long run of its experts; both models have the same number of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from learning.adapters import Adapted, weights
from learning.executor.shape_run import shape_run
from learning.expert_parameters import ExpertParameters, expert_parameters
from learning.large_models import SIZES, Large
from learning.models import Architecture, Experts, Segment


@dataclass(frozen=True)
class Charge:
    """A large model whose costs are charged in place of those of a small one.

    Raises ValueError where the two are of different families, the large model has fewer layers or experts, or only one
    of them has shared experts.
    """

    name: Large
    """Name of the large model in `SIZES`."""
    small: Segment
    """The whole small model, which is trained."""

    def __post_init__(self) -> None:
        kind = type(self.small.architecture).__name__.lower()
        if getattr(self.small.architecture, "family", kind).rstrip("2") != self._size["family"]:
            raise ValueError(f"{self.name} can be charged for a model of its own family, and this is a {kind}")
        if self._size["depth"] < self._layers:
            raise ValueError(f"{self.name} has {self._size['depth']} layers, fewer than the model that it replaces")
        small, large = self._experts
        if small is None and "experts" in self._size:
            raise ValueError(f"{self.name} has experts, and the model that it replaces has none")
        if small is not None and large is not None:
            if large.count < small.count:
                raise ValueError(f"{self.name} has {large.count} experts, fewer than the model that it replaces")
            if bool(large.shared) != bool(small.shared):
                has = "shared experts" if large.shared else "no shared experts"
                raise ValueError(f"{self.name} has {has}, unlike the model that it replaces")

    @cached_property
    def large(self) -> Segment:
        """The whole large model, for as many tokens as the small one has; images have three colours."""
        architecture, shape = self.small.architecture, self.small.input_shape
        known = {field.name for field in fields(architecture)}  # type: ignore[arg-type]  # architectures are dataclasses
        if len(shape) > 1:
            patch = self._size["patch"]
            sides = tuple(side // architecture.patch * patch for side in shape[1:])  # type: ignore[attr-defined]
            shape = (3, *sides)
        classes = self._size["vocabulary"] if self._size["family"] == "gpt" else self.small.classes
        size = self._size | {"folder": None, "experts": self._experts[1]}
        changed: Architecture = replace(  # type: ignore[type-var]
            architecture, **{name: value for name, value in size.items() if name in known and name != "family"}
        )
        return Segment(changed, shape, classes, 0, self._size["depth"] + 2)

    def counterpart(self, tree: Any) -> Any:
        """The counterpart of a tree of meta tensors, segments and plain values; values without one are unchanged."""
        return tree_map(self._counterpart, tree, is_leaf=_named)

    def _counterpart(self, each: Any) -> Any:
        if isinstance(each, dict):
            counterparts = [counterpart for name, value in each.items() for counterpart in self._named(name, value)]
            ordered = sorted(counterparts, key=lambda each: (each[0], self._order.get(f"{each[0]}.{each[1]}", 0)))
            return {f"{block}.{rest}": value for block, rest, value in ordered}
        if isinstance(each, Tensor):
            return self._tensor(each)
        if isinstance(each, Segment):
            return replace(self.large, start=self._first(each.start), stop=self._first(each.stop))
        if isinstance(each, ExpertParameters):
            return expert_parameters(self.large)
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
        """The counterpart of a parameter, a weight, a factor of an adapter, a statistic of a gate, or an activation.

        A single number is unchanged.
        """
        if not isinstance(value, Tensor) or value.ndim == 0:
            return value
        if (shape := self._shapes.get(name, self._sides.get(name))) is not None:
            return _like(value, shape)
        owner, _, field = name.rpartition(".")
        if owner in self._sides:
            outputs, inputs = self._sides[owner]
            return _like(value, (value.shape[0], inputs) if field == "down" else (outputs, value.shape[1]))
        if owner.endswith(".gate") and self._experts[1] is not None:
            return _like(value, (self._experts[1].count,) * value.ndim)  # a statistic, all of whose axes are experts
        return self._tensor(value)

    def _places(self, name: str) -> list[tuple[int, str]]:
        """(block, rest of the name) of each counterpart in the large model of a name of the small one."""
        block, _, rest = name.partition(".")
        run = range(self._first(int(block)), self._first(int(block) + 1))
        return [(each, other) for each in run for other in self._names(rest)]

    def _names(self, rest: str) -> list[str]:
        """The counterparts, within one layer of the large model, of a name within a layer."""
        layer, of_expert, inner = rest.partition(".experts.")
        small, large = self._experts
        if not of_expert or small is None or large is None:
            return [rest]
        number, _, field = inner.partition(".")
        first, end = (round(each * large.count / small.count) for each in (int(number), int(number) + 1))
        return [f"{layer}.experts.{each}.{field}" for each in range(first, end)]

    def _first(self, block: int) -> int:
        """The large model's block at which the counterpart of a block of the small one begins."""
        depth: int = self._size["depth"]
        if block == 0:
            return 0
        if block > self._layers + 1:
            return depth + 2
        return 1 + round((block - 1) * depth / self._layers)

    @property
    def _size(self) -> dict[str, Any]:
        return SIZES[self.name]

    @property
    def _layers(self) -> int:
        """Layers of the small model."""
        return self.small.last - 1

    @cached_property
    def _experts(self) -> tuple[Experts | None, Experts | None]:
        """The experts of the small model and of the large one, in those layers whose counterparts have some."""
        small: Experts | None = getattr(self.small.architecture, "experts", None)
        if small is None:
            return None, None
        layers = small.layers and tuple(
            block - 1 for layer in small.layers for block in range(self._first(layer + 1), self._first(layer + 2))
        )
        return small, replace(small, **self._size.get("experts", {}), layers=layers)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for name, value in self.large.parameters().items()}

    @cached_property
    def _order(self) -> dict[str, int]:
        """Place of each parameter in the order of the large model."""
        return {name: place for place, name in enumerate(self._shapes)}

    @cached_property
    def _sides(self) -> dict[str, tuple[int, int]]:
        return weights(self.large) | weights(self.large, "qkv")

    @cached_property
    def _widths(self) -> tuple[int, int]:
        """Length of a token's vector in the small and in the large model."""
        return _width(self.small), _width(self.large)


def _width(model: Segment) -> int:
    dtype = torch.float32 if len(model.input_shape) > 1 else torch.int64
    embedding = replace(model, stop=1)
    one = torch.empty((1, *model.input_shape), dtype=dtype, device="meta")
    width: int = shape_run(embedding, (embedding.parameters(), one)).results.shape[-1]
    return width


def _named(tree: Any) -> bool:
    """Whether a tree is a dictionary by names of parameters, weights or adapters."""
    return isinstance(tree, dict) and all(str(name).partition(".")[0].isdigit() for name in tree)


def _like(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=tensor.dtype, device="meta")
