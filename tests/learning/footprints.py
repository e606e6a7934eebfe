"""What training a part of a model holds in memory, by what it is for: an oracle, for optimisers that work in place."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves

from learning.adapters import Adapted
from learning.executor.base import Counterparts
from learning.models import Segment
from learning.optimisers import Optimiser


class Footprint(NamedTuple):
    """Bytes by what they are for."""

    weights_bytes: int
    """Parameters, frozen ones included."""
    gradients_bytes: int
    """One for each scalar that trains."""
    optimiser_bytes: int
    """State of the optimiser."""
    activations_bytes: int
    """The mini-batch, what the backward pass needs of the forward pass, and the output."""

    @property
    def total_bytes(self) -> int:
        """All together."""
        return sum(self)


def footprint(
    part: Segment | Adapted,
    optimiser: Optimiser,
    x: Tensor,
    *,
    training: bool = True,
    below: bool = False,
    charge: Counterparts | None = None,
) -> Footprint:
    """The memory of a part of a model for a mini-batch of the shape and dtype of `x`, which may be a meta tensor.

    Without `training` there are neither gradients nor an optimiser, and nothing is kept for a backward pass, as on a
    frozen device. `below` says that the gradient goes on to a part below, as it does at a server. The loss and what a
    kernel needs only while it runs are left out. With a `charge` it is the memory of the large model's part.
    """
    x = torch.empty_like(x, device="meta")
    if charge is not None:
        part, x = charge.counterpart((part, x))
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    trained = {name: value.to(dtype) for name, value in part.parameters().items()}
    frozen = {name: value.to(dtype) for name, value in part.frozen().items()} if isinstance(part, Adapted) else {}
    state = optimiser.init(trained) if training and trained else ()
    return Footprint(
        weights_bytes=_bytes(trained) + _bytes(frozen),
        gradients_bytes=_bytes(trained) if training else 0,
        optimiser_bytes=_bytes(state),
        activations_bytes=_activations(part, trained, frozen, x, training, below),
    )


def _activations(
    part: Segment | Adapted,
    trained: dict[str, Tensor],
    frozen: dict[str, Tensor],
    x: Tensor,
    training: bool,
    below: bool,
) -> int:
    leaves = {name: value.detach().requires_grad_(training) for name, value in trained.items()}
    x = x.detach().requires_grad_(below and training)
    kept = {x.untyped_storage()._cdata: x}

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        out = part(leaves, frozen, x) if isinstance(part, Adapted) else part(leaves, x)
    keep(out)
    weights = {value.untyped_storage()._cdata for value in (*leaves.values(), *frozen.values())}
    return sum(tensor.untyped_storage().nbytes() for storage, tensor in kept.items() if storage not in weights)


def _bytes(tree: object) -> int:
    return sum(leaf.numel() * leaf.itemsize for leaf in tree_leaves(tree))
