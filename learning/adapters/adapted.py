"""A segment of which only low-rank adapters, and optionally the head, are trained; everything else is frozen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from math import sqrt
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import register_pytree_node

from learning.data.modalities import Modalities
from learning.models.expert_records import ExpertOutputs, ExpertRecord, Recorded
from learning.models.experts import Routed
from learning.models.projection import Projection
from learning.models.segment import Segment, modules, with_attention
from learning.models.selective_backward import SelectiveBackward
from learning.models.stateless import Stateless
from learning.models.towers import Multimodal, Towers
from learning.ports import Streams

Tree = dict[str, Tensor]
Scaling = Literal["rank", "root", "none"]


@dataclass(frozen=True)
class Adapted:
    """A segment with adapters on some of its weights; hashable, and equal ones are the same function.

    The trained parameters are "<weight>.down" (rank, inputs) and "<weight>.up" (outputs, rank) of each adapter, and
    those of the head where it is `tuned`.
    """

    segment: Segment
    """The run of blocks whose weights have adapters."""
    alpha: float
    """Numerator of the scale of an adapter."""
    ranks: tuple[tuple[str, int], ...]
    """(name, rank) of each weight with an adapter, such as ("3.attend.1.inward.q", 8), ascending; see `weights`."""
    tuned: bool = True
    """Whether the parameters of the model's last block (the head) are trained, where the segment contains it."""
    law: Literal["gaussian", "kaiming"] = "gaussian"
    """Distribution from which the down-projections are drawn; see `adapters`."""
    scaling: Scaling = "rank"
    """Denominator of the scale of an adapter: its rank, the square root of it, or 1 (`none`)."""
    opened: tuple[int, ...] = ()
    """Numbers of further blocks whose own parameters are trained."""

    def __call__(self, parameters: Tree, frozen: Tree, x: Tensor | Modalities) -> Tensor:
        """The output of the segment, (batch, *shape after it).

        Args:
            parameters: the trained parameters, by name.
            frozen: the frozen parameters, by name.
            x: samples or activations, (batch, *shape before the segment).
        """
        out: Tensor = _function(self)({**frozen, **parameters}, x)
        return out

    def scored(self, parameters: Tree, frozen: Tree, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and the first token's attention in the last block, as `Segment.scored`."""
        out: tuple[Tensor, Tensor] = _function(self, scored=True)({**frozen, **parameters}, x)
        return out

    def routed(self, parameters: Tree, frozen: Tree, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the gates of layers with experts make of the tokens, as `Segment.routed`."""
        out: tuple[Tensor, Tensor] = _function(self, Routed)({**frozen, **parameters}, x)
        return out

    def recorded(self, parameters: Tree, frozen: Tree, x: Tensor) -> tuple[Tensor, dict[str, ExpertRecord]]:
        """The output, and what each layer with experts computed, as `Segment.recorded`."""
        out: tuple[Tensor, dict[str, ExpertRecord]] = _function(self, Recorded)({**frozen, **parameters}, x)
        return out

    def selective_backward(self, parameters: Tree, frozen: Tree, x: Tensor, active: Tensor | bool) -> Tensor:
        """The output, whose backward pass goes through the active experts only, as `Segment.selective_backward`."""
        out: Tensor = _function(self, SelectiveBackward)({**frozen, **parameters}, x, active)
        return out

    def expert_outputs(self, parameters: Tree, frozen: Tree, x: Tensor) -> Tree:
        """What each expert makes of the same tokens, as `Segment.expert_outputs`."""
        out: Tree = _function(self, ExpertOutputs)({**frozen, **parameters}, x)
        return out

    def bind(self, frozen: Any) -> Bound:
        """The same segment with its frozen parameters: a tree of tensors, or a deferred one."""
        return Bound(self, frozen)

    def scale(self, rank: int) -> float:
        """Factor by which the product of the two factors of an adapter of this rank is multiplied."""
        divisor = {"rank": rank, "root": sqrt(rank), "none": 1}
        return self.alpha / divisor[self.scaling]

    def with_ranks(self, ranks: Mapping[str, int]) -> Adapted:
        """The same segment with adapters of other ranks. Raises ValueError as `adapt` does."""
        other = adapt(self.segment, ranks, self.alpha, tuned=self.tuned, law=self.law, scaling=self.scaling)
        return replace(other, opened=self.opened)

    def module(self) -> nn.Module:
        """The modules of the segment with its adapters, on the meta device."""
        return deepcopy(_function(self).module)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.segment.blocks

    @property
    def parameter_count(self) -> int:
        """Number of trained scalars."""
        return sum(tensor.numel() for tensor in self.parameters().values())

    def parameters(self) -> Tree:
        """The trained parameters by name, as meta tensors of torch's default dtype."""
        return {name: value for name, value in _function(self).parameters.items() if self.trains(name)}

    def frozen(self) -> Tree:
        """The frozen parameters by name, as meta tensors of torch's default dtype."""
        return {name: value for name, value in _function(self).parameters.items() if not self.trains(name)}

    def trains(self, name: str) -> bool:
        """Whether the parameter `name` is trained."""
        block = self.segment.block(name)
        return self.of_adapter(name) or block in self.opened or (self.tuned and block == self.segment.last)

    def of_adapter(self, name: str) -> bool:
        """Whether the parameter `name` is a factor of an adapter; other trained parameters belong to the head."""
        return name.rpartition(".")[0] in dict(self.ranks)

    def split(self, backbone: Tree) -> tuple[Tree, Tree]:
        """The frozen parameters of this segment, and the trained ones of its head, out of those of a plain model."""
        frozen = {name: backbone[name] for name in self.frozen()}
        return frozen, {name: backbone[name] for name in self.parameters() if not self.of_adapter(name)}

    def adapters(self, streams: Streams, *entity: int | str, dtype: torch.dtype = torch.float32) -> Tree:
        """Initial adapters, which do not change the function of the segment: up-projections are zero.

        Down-projections are drawn from the stream ("adapter", name, *entity): normal with variance 1 / rank, or
        uniform in +-1/sqrt(inputs), which is Kaiming's initialisation as LoRA uses it.

        Args:
            streams: the run's random streams.
            entity: further names of the draw, such as numbers of user and round.
            dtype: number format of the factors.

        Returns:
            The factors of all adapters, by name.
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
        """The segment cut in two before block `at`, counted from the beginning of the whole model: front and back."""
        front, back = self.segment.cut(at)
        return self._on(front), self._on(back)

    def _on(self, segment: Segment) -> Adapted:
        inside = range(segment.start, segment.stop)
        ranks = tuple((weight, rank) for weight, rank in self.ranks if segment.block(weight) in inside)
        return replace(self, segment=segment, ranks=ranks)


@dataclass(frozen=True, eq=False)
class Bound:
    """An adapted segment with its frozen parameters; steps accept it in place of a segment.

    For an executor it is a tree of operands, so that all users can share one frozen backbone.
    """

    adapted: Adapted
    """The function, and the names and shapes of its parameters."""
    frozen: Any
    """The frozen parameters by name, as tensors, or deferred."""

    @property
    def name(self) -> str:
        """Name of the segment in a model of several ones."""
        return self.adapted.segment.name

    def __call__(self, parameters: Tree, x: Tensor | Modalities) -> Tensor:
        """The segment's output, (batch, *shape after it), for these trained parameters."""
        return self.adapted(parameters, self.frozen, x)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.adapted.blocks

    @property
    def parameter_count(self) -> int:
        """Number of trained scalars."""
        return self.adapted.parameter_count

    def parameters(self) -> Tree:
        """The trained parameters by name, as meta tensors of torch's default dtype."""
        return self.adapted.parameters()

    def cut(self, at: int) -> tuple[Bound, Bound]:
        """The segment cut in two before block `at`: front and back, each with its own frozen parameters.

        The frozen parameters must be tensors, not deferred.
        """
        front, back = self.adapted.cut(at)
        own = [each.bind({name: self.frozen[name] for name in each.frozen()}) for each in (front, back)]
        return own[0], own[1]

    def scored(self, parameters: Tree, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and the first token's attention in the last block, as `Segment.scored`."""
        return self.adapted.scored(parameters, self.frozen, x)

    def routed(self, parameters: Tree, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the gates of layers with experts make of the tokens, as `Segment.routed`."""
        return self.adapted.routed(parameters, self.frozen, x)

    def recorded(self, parameters: Tree, x: Tensor) -> tuple[Tensor, dict[str, ExpertRecord]]:
        """The output, and what each layer with experts computed, as `Segment.recorded`."""
        return self.adapted.recorded(parameters, self.frozen, x)

    def expert_outputs(self, parameters: Tree, x: Tensor) -> Tree:
        """What each expert makes of the same tokens, as `Segment.expert_outputs`."""
        return self.adapted.expert_outputs(parameters, self.frozen, x)

    def selective_backward(self, parameters: Tree, x: Tensor, active: Tensor | bool) -> Tensor:
        """The output, whose backward pass goes through the active experts only, as `Segment.selective_backward`."""
        return self.adapted.selective_backward(parameters, self.frozen, x, active)


Part = Segment | Bound | Towers
"""The part of a model that one host computes: a run of blocks, with adapters or without, or parallel towers."""
Model = Segment | Bound | Multimodal
"""A whole model: one chain of blocks, with adapters or without, or towers and a fusion network."""

register_pytree_node(Bound, lambda bound: ([bound.adapted, bound.frozen], None), lambda leaves, _: Bound(*leaves))


def require_adapters(part: Part) -> Bound:
    """Return `part` if it has adapters. Raises ValueError otherwise."""
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
    """Put adapters on weights of a segment.

    Args:
        segment: the segment, whose weights become frozen.
        ranks: rank of the adapter of each weight by its name; 0 is no adapter.
        alpha: numerator of the scale of an adapter.
        tuned: whether the parameters of the model's last block are trained too, where the segment contains it.
        law: distribution of the initial down-projections.
        scaling: denominator of the scale of an adapter.

    Raises:
        ValueError: a name is not a weight of the segment that can have an adapter, or a rank exceeds the shorter side
            of its weight.
    """
    known = weights(segment, *{weight.rpartition(".")[2] for weight in ranks})
    for weight, rank in ranks.items():
        if weight not in known:
            raise ValueError(f"{weight} is not a weight of the segment that an adapter can have")
        if not 0 <= rank <= min(known[weight]):
            raise ValueError(f"rank {rank} is not between 0 and {min(known[weight])}, the shorter side of {weight}")
    return Adapted(segment, alpha, tuple(sorted((w, rank) for w, rank in ranks.items() if rank)), tuned, law, scaling)


def weights(segment: Segment, *targets: str) -> dict[str, tuple[int, int]]:
    """Weights of a segment that can have an adapter: (outputs, inputs) by name, such as "3.attend.1.inward.q".

    Args:
        segment: the segment.
        targets: roles of the weights (q, k, v, proj, fc1, fc2), or several roles of one fused weight together (qkv);
            without any, every single role.
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
def _function(adapted: Adapted, view: type[nn.Sequential] | None = None, scored: bool = False) -> Stateless:
    run = deepcopy(modules(adapted.segment))
    with torch.device("meta"):
        for weight, rank in adapted.ranks:
            name, _, target = weight.rpartition(".")
            projection = run.get_submodule(name)
            assert isinstance(projection, Projection)
            projection.adapt(target, rank, adapted.scale(rank))
    if view:
        return Stateless(view(OrderedDict(run.named_children())))
    return Stateless(with_attention(run, adapted.segment.name) if scored else run)
