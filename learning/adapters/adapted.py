"""A segment of which only low-rank adapters, and perhaps the head, train; everything else is frozen."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from math import sqrt
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import register_pytree_node

from learning.models.projection import Projection
from learning.models.segment import Segment, modules, with_attention
from learning.models.stateless import Stateless
from learning.models.towers import Multimodal, Towers
from learning.ports import Streams

Tree = dict[str, Tensor]
Scaling = Literal["rank", "root", "none"]


@dataclass(frozen=True)
class Adapted:
    """A segment with adapters on some of its weights; hashable, and equal ones are the same function.

    `ranks` names weights, such as "3.attend.1.inward.q" (see `weights`), in ascending order. Parameters that train are
    "<weight>.down" (rank, inputs) and "<weight>.up" (outputs, rank), and those of the head where it is `tuned`.
    """

    segment: Segment
    alpha: float
    ranks: tuple[tuple[str, int], ...]
    tuned: bool = True
    """Whether the parameters of the model's last block train, where the segment holds it."""
    law: Literal["gaussian", "kaiming"] = "gaussian"
    """How the inward factors are drawn."""
    scaling: Scaling = "rank"
    """What alpha is divided by to give an adapter's scale: its rank, the root of it, or nothing."""

    def __call__(self, parameters: Tree, frozen: Tree, x: Tensor) -> Tensor:
        """Map (batch, *shape before the segment) to (batch, *shape after it)."""
        out: Tensor = _function(self)({**frozen, **parameters}, x)
        return out

    def scored(self, parameters: Tree, frozen: Tree, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `Segment.scored`."""
        out: tuple[Tensor, Tensor] = _function(self, scored=True)({**frozen, **parameters}, x)
        return out

    def bind(self, frozen: Any) -> Bound:
        """The function of what trains alone; `frozen` is a tree of tensors, or a deferred one."""
        return Bound(self, frozen)

    def scale(self, rank: int) -> float:
        """What the product of an adapter's factors is multiplied by."""
        divisor = {"rank": rank, "root": sqrt(rank), "none": 1}
        return self.alpha / divisor[self.scaling]

    def with_ranks(self, ranks: Mapping[str, int]) -> Adapted:
        """The same segment with adapters of other ranks. Raises ValueError as `adapt` does."""
        return adapt(self.segment, ranks, self.alpha, tuned=self.tuned, law=self.law, scaling=self.scaling)

    @property
    def blocks(self) -> int:
        """How many blocks."""
        return self.segment.blocks

    @property
    def parameter_count(self) -> int:
        """How many scalars train."""
        return sum(tensor.numel() for tensor in self.parameters().values())

    def parameters(self) -> Tree:
        """What trains, as meta tensors: names, shapes and torch's default dtype, no values."""
        return {name: value for name, value in _function(self).parameters.items() if self.trains(name)}

    def frozen(self) -> Tree:
        """What does not train, likewise."""
        return {name: value for name, value in _function(self).parameters.items() if not self.trains(name)}

    def trains(self, name: str) -> bool:
        """Whether a parameter of that name trains."""
        return self.of_adapter(name) or (self.tuned and self.segment.block(name) == self.segment.last)

    def of_adapter(self, name: str) -> bool:
        """Whether a parameter of that name is a factor of an adapter; what else trains belongs to the head."""
        return name.rpartition(".")[0] in dict(self.ranks)

    def split(self, backbone: Tree) -> tuple[Tree, Tree]:
        """Plain weights as those that stay frozen and those that train with the adapters (the head)."""
        frozen = {name: backbone[name] for name in self.frozen()}
        return frozen, {name: backbone[name] for name in self.parameters() if not self.of_adapter(name)}

    def adapters(self, streams: Streams, *entity: int | str, dtype: torch.dtype = torch.float32) -> Tree:
        """Fresh adapters, which change nothing yet: outward factors are zero.

        Inward ones come from the stream ("adapter", name, *entity), normal with variance 1 / rank, or uniform in
        +-1/sqrt(inputs), which is Kaiming's law as LoRA uses it.
        """
        names = [name for name in self.parameters() if self.of_adapter(name)]
        return {name: self._draw(streams, name, entity, dtype) for name in names}

    def _draw(self, streams: Streams, name: str, entity: tuple[int | str, ...], dtype: torch.dtype) -> Tensor:
        shape = tuple(self.parameters()[name].shape)
        if name.endswith(".up"):
            return torch.zeros(shape, dtype=dtype)
        generator = streams.generator("adapter", name, *entity)
        if self.law == "gaussian":
            values = generator.standard_normal(shape) / np.sqrt(shape[0])
        else:
            values = generator.uniform(-1, 1, shape) / np.sqrt(shape[1])
        return torch.from_numpy(values).to(dtype)

    def cut(self, at: int) -> tuple[Adapted, Adapted]:
        """Cut before block `at`, counted from the beginning of the whole model, into front and back."""
        front, back = self.segment.cut(at)
        return self._on(front), self._on(back)

    def _on(self, segment: Segment) -> Adapted:
        inside = range(segment.start, segment.stop)
        ranks = tuple((weight, rank) for weight, rank in self.ranks if segment.block(weight) in inside)
        return replace(self, segment=segment, ranks=ranks)


@dataclass(frozen=True, eq=False)
class Bound:
    """An adapted segment with its frozen parameters: wherever a step takes a segment, it may be given this.

    To an executor it is a tree of operands like any other, so that all users share one frozen backbone.
    """

    adapted: Adapted
    frozen: Any

    def __call__(self, parameters: Tree, x: Tensor) -> Tensor:
        """The segment's output for these adapters (and head)."""
        return self.adapted(parameters, self.frozen, x)

    @property
    def blocks(self) -> int:
        """How many blocks."""
        return self.adapted.blocks

    @property
    def parameter_count(self) -> int:
        """How many scalars train."""
        return self.adapted.parameter_count

    def parameters(self) -> Tree:
        """What trains, as meta tensors."""
        return self.adapted.parameters()

    def cut(self, at: int) -> tuple[Bound, Bound]:
        """Cut before block `at` into front and back, each with its own frozen parameters; these must be at hand."""
        front, back = self.adapted.cut(at)
        own = [each.bind({name: self.frozen[name] for name in each.frozen()}) for each in (front, back)]
        return own[0], own[1]

    def scored(self, parameters: Tree, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the first token's attention in the last block, as `Segment.scored`."""
        return self.adapted.scored(parameters, self.frozen, x)


Part = Segment | Bound | Towers
"""What a host computes of a model: a run of blocks, with adapters or without, or towers side by side."""
Model = Segment | Bound | Multimodal
"""A whole model: one chain of blocks, with adapters or without, or towers and a fusion network."""

register_pytree_node(Bound, lambda bound: ([bound.adapted, bound.frozen], None), lambda leaves, _: Bound(*leaves))


def require_adapters(part: Part) -> Bound:
    """The same part of the model where it has adapters. Raises ValueError where it has none."""
    if not isinstance(part, Bound):
        raise ValueError("the scheme fine-tunes adapters; give learning.adapter, as in {rank: 8}")
    return part


def adapt(
    segment: Segment,
    ranks: Mapping[str, int],
    alpha: float,
    *,
    tuned: bool = True,
    law: Literal["gaussian", "kaiming"] = "gaussian",
    scaling: Scaling = "rank",
) -> Adapted:
    """A segment with an adapter of the given rank on each named weight; rank 0 means none.

    Raises ValueError where a name is not a weight of the segment or a rank exceeds what its weight has.
    """
    known = weights(segment, *{weight.rpartition(".")[2] for weight in ranks})
    for weight, rank in ranks.items():
        if weight not in known:
            raise ValueError(f"{weight} is not a weight of the segment that an adapter can have")
        if not 0 <= rank <= min(known[weight]):
            raise ValueError(f"rank {rank} is not between 0 and {min(known[weight])}, the least side of {weight}")
    return Adapted(segment, alpha, tuple(sorted((w, rank) for w, rank in ranks.items() if rank)), tuned, law, scaling)


def weights(segment: Segment, *targets: str) -> dict[str, tuple[int, int]]:
    """Weights that an adapter can have, with their (outputs, inputs): those named by `targets`, or every single role.

    A target is a role (q, k, v, proj, fc1, fc2) or, for a weight that plays several, all of them together (qkv).
    """
    found = {}
    for name, module in modules(segment).named_modules():
        if isinstance(module, Projection):
            for target in targets or module.roles:
                rows = module.rows(target)
                if rows is not None:
                    found[f"{name}.{target}"] = (rows.stop - rows.start, module.in_features)
    return found


@cache
def _function(adapted: Adapted, scored: bool = False) -> Stateless:
    run = deepcopy(modules(adapted.segment))
    with torch.device("meta"):
        for weight, rank in adapted.ranks:
            name, _, target = weight.rpartition(".")
            projection = run.get_submodule(name)
            assert isinstance(projection, Projection)
            projection.adapt(target, rank, adapted.scale(rank))
    return Stateless(with_attention(run, adapted.segment.name) if scored else run)
