"""What parts of a model are given while they train: their input, with the draws of their layers of dropout."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from learning.data.training_input import TrainingInput
from learning.draws import Draw
from learning.executor.deferred import specification
from learning.models import Segment
from learning.models.segment import draw_shapes
from learning.world import World


def training_input(world: World, part: Any, x: Any, who: int | str, position: int) -> Any:
    """The input of a part of the model that trains: `x` itself unless the part has layers that work in training only.

    Numbers of dropout are drawn from the stream ("dropout", who, position, layer, call): they are the same wherever the
    model is cut, and each mini-batch has its own.

    Args:
        world: the world.
        part: the part of the model.
        x: samples or activations, (batch, ...), also deferred ones.
        who: number of the user whose mini-batch it is, or a name.
        position: number of the mini-batch in the sequence of this user.
    """
    if not _trains_otherwise(part):
        return x
    (leaf,) = specification(x).leaves
    return TrainingInput(x, _draws(world, part, leaf, who, position, ()))


def training_stacks(world: World, part: Any, stacks: Sequence[Any], who: int | str, first: int) -> list[Any]:
    """The same for stacks of consecutive mini-batches (count, batch, ...), the first of which is at position `first`.

    A stack is named by the position of its first mini-batch.
    """
    if not _trains_otherwise(part):
        return list(stacks)
    inputs = []
    for stack in stacks:
        (leaf,) = specification(stack).leaves
        inputs.append(TrainingInput(stack, _draws(world, part, leaf[0], who, first, (len(leaf),))))
        first += len(leaf)
    return inputs


def _trains_otherwise(part: Any) -> bool:
    return isinstance(part, Segment) and _has_training_layers(part)


@cache
def _has_training_layers(part: Segment) -> bool:
    return bool(part.training_layers)


def _draws(
    world: World, part: Segment, one: torch.Tensor, who: int | str, position: int, stack: tuple[int, ...]
) -> dict[str, Draw]:
    shapes = _shapes(part, tuple(one.shape), one.dtype, world.precision)
    return {
        call: Draw(world.streams, "dropout", (who, position, call), (*stack, *shape), world.precision)
        for call, shape in shapes.items()
    }


@cache
def _shapes(
    part: Segment, shape: tuple[int, ...], dtype: torch.dtype, precision: torch.dtype
) -> dict[str, tuple[int, ...]]:
    parameters = {name: value.to(precision) for name, value in part.parameters().items()}
    return draw_shapes(part, parameters, torch.empty(shape, dtype=dtype, device="meta"))
