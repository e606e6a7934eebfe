"""What keeps a module from being a pure function of its parameters and its input, and the remedy."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.lazy import LazyModuleMixin

from learning.executor.operators import applied
from learning.executor.uncompiled import UncompiledMode
from learning.models.initial import has_rule


def check_pure(model: nn.Module) -> None:
    """Raise ValueError unless a model computes from its parameters and its input alone, and all can be initialised.

    Args:
        model: its modules.
    """
    for name, module in model.named_modules():
        if remedy := _impure(module):
            raise ValueError(f"the model has a {type(module).__name__} ({name}), {remedy}")
        for field, _ in module.named_buffers(recurse=False):
            raise ValueError(
                f"the model has a buffer {name}.{field}, which is no parameter; compute it in forward, or make it one"
            )
        for field, _ in module.named_parameters(recurse=False):
            if not has_rule(module, field):
                raise ValueError(
                    f"there is no rule to initialise the parameter {field} of a {type(module).__name__} ({name}); give "
                    "that module a method draw(field, generator), which returns its initial values"
                )
    names = dict(model.named_parameters())
    for name, _ in model.named_parameters(remove_duplicate=False):
        if name not in names:
            raise ValueError(f"the model uses one parameter twice, as {name} too; every place needs its own")


def _impure(module: nn.Module) -> str:
    """Why a module is no pure function, and what to do; empty if it is one."""
    if isinstance(module, LazyModuleMixin):
        return "whose sizes are not known before it is called; write the layer with its sizes"
    if isinstance(module, nn.RNNBase):
        return "which keeps references to its weights; use learning.models.Lstm or Gru, one for each layer"
    if isinstance(module, _NormBase) and module.track_running_stats:
        return (
            "whose running statistics cannot be tracked; nn.BatchNorm1d to 3d in training mode with a number as "
            "momentum are the layers that can, or write track_running_stats=False, so that each mini-batch has its own"
        )
    if not module.training:
        return ""
    if isinstance(module, nn.MultiheadAttention) and module.dropout > 0:
        return "which draws random numbers; set its dropout to 0, and put a layer nn.Dropout behind it"
    if isinstance(module, nn.RReLU) or (isinstance(module, _DropoutNd) and module.p > 0):
        return "which draws random numbers; nn.Dropout and Dropout1d to 3d are the layers that may, or leave it out"
    return ""


class RandomOperators(UncompiledMode):
    """Context that notes which operators on meta tensors draw random numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []
        """Their names, in order."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.seen.append(str(func).partition(".")[2].partition(".")[0] or str(func))
        return applied(func, args, kwargs or {})[0]
