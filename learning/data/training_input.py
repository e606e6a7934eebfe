"""Input of a part of a model while it trains, which sets layers apart that do something else in evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.utils._pytree import register_pytree_node


@dataclass(frozen=True, eq=False)
class TrainingInput:
    """Input of a part of a model that trains: layers of dropout drop activations, while on plain input they do nothing.

    A tree to torch and to an executor; its leaves are tensors, or what stands for them.
    """

    x: Any
    """Samples or activations, (batch, ...); or a stack of mini-batches, (count, batch, ...)."""
    draws: dict[str, Any]
    """Uniform numbers in [0, 1) of each call of a layer of dropout, in the order of the calls, by name of the layer and
    number of the call ("1.2/0"): one for each activation or channel that it may drop. Of a stack, with its first axis.
    """


register_pytree_node(
    TrainingInput, lambda each: ([each.x, each.draws], None), lambda children, _: TrainingInput(*children)
)
