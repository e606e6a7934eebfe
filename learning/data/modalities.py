"""Samples of several modalities: an array per modality, with a mask of the samples that have it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import register_pytree_node

from learning.data.training_input import TrainingInput


@dataclass(frozen=True, eq=False)
class Modalities:
    """Arrays of several modalities with their presence masks: a batch of samples, or of the features of towers.

    A tree to torch and to an executor; its leaves are tensors, or what stands for them (rows of a data set, shapes).
    """

    values: dict[str, Any]
    """Modality -> array (batch, ...). Rows of samples that lack the modality do not count, whatever is in them; an
    array that no sample of the user has is left out."""
    present: dict[str, Any]
    """Modality -> bool (batch,): whether a sample has it; also for modalities whose array is left out."""


register_pytree_node(Modalities, lambda x: ([x.values, x.present], None), lambda trees, _: Modalities(*trees))


def masked(values: Tensor, present: Tensor) -> Tensor:
    """Values (batch, ...) with exact zeros, and so without a gradient, where `present` (batch,) is false."""
    return torch.where(present.reshape(-1, *[1] * (values.ndim - 1)), values, torch.zeros_like(values))


def differentiable(features: Any) -> Any:
    """The differentiable content of a part's input or output: the array itself, or values of modalities without masks.

    Of a `TrainingInput` it is the input without the draws.
    """
    if isinstance(features, TrainingInput):
        return features.x
    return features.values if isinstance(features, Modalities) else features


def with_values(features: Any, values: Any) -> Any:
    """The same features with their `differentiable` content replaced by `values`."""
    if isinstance(features, TrainingInput):
        return replace(features, x=values)
    return replace(features, values=values) if isinstance(features, Modalities) else values
