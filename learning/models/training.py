"""Layers that compute one thing while a model trains and another in evaluation, as pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from learning.data.training_input import TrainingInput
from learning.models.stateless import Stateless


@dataclass(eq=False)
class TrainingPass:
    """One forward pass of a model that trains."""

    draws: Iterator[Tensor] | None = None
    """Uniform numbers of the calls of layers of dropout, in their order; None in a pass that only notes shapes."""
    shapes: list[tuple[TrainingLayer, tuple[int, ...]]] = field(default_factory=list)
    """The layer of each call, and the shape of the numbers that it takes, in a pass that only notes these."""
    statistics: dict[TrainingLayer, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """New running means and variances of layers of batch normalisation."""


class TrainingLayer(nn.Module):
    """A layer that computes something else while the model trains."""

    now: TrainingPass | None = None
    """The pass in which it is called; None in evaluation."""


class Dropout(TrainingLayer):
    """Dropout by given uniform numbers: an activation, or a channel, is zero with probability p, others are scaled.

    The same function as torch.nn.Dropout and Dropout1d to 3d, for the same choice of what is dropped.
    """

    # Srivastava et al., JMLR 2014; of channels, Tompson et al., CVPR 2015.

    def __init__(self, p: float, sample_axes: int | None) -> None:
        """Of samples with `sample_axes` axes whole channels are dropped; with None single activations."""
        super().__init__()
        self.p, self.sample_axes = p, sample_axes

    def forward(self, x: Tensor) -> Tensor:
        if self.now is None:
            return x
        if self.now.draws is None:
            self.now.shapes.append((self, self.draw_shape(tuple(x.shape))))
            return x
        kept = (next(self.now.draws) >= self.p).to(x.dtype)
        return x * kept if self.p == 1 else x * (kept / (1 - self.p))  # divided first, as torch does

    def draw_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the uniform numbers for activations of a shape (batch, ...)."""
        if self.sample_axes is None:
            return shape
        if len(shape) != self.sample_axes + 1:
            raise ValueError(f"dropout of channels needs samples with {self.sample_axes} axes, not {shape[1:]}")
        return (*shape[:2], *[1] * (len(shape) - 2))


class BatchNorm(TrainingLayer):
    """Batch normalisation whose running statistics are parameters, to be replaced by those that a pass returns.

    The same function as torch.nn.BatchNorm1d to 3d: mini-batches are normalised by their own statistics while the model
    trains, and by the running ones in evaluation.
    """

    # Ioffe and Szegedy, arXiv 1502.03167.

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float, momentum: float, affine: bool, axes: tuple[int, ...]) -> None:
        """`momentum` is the weight of a mini-batch in the running statistics, `axes` the allowed numbers of axes."""
        super().__init__()
        self.channels, self.eps, self.momentum, self.axes = channels, eps, momentum, axes
        for name in ("weight", "bias") if affine else ():
            self.register_parameter(name, nn.Parameter(torch.empty(channels, device="meta")))
        for name in STATISTICS:
            self.register_parameter(name, nn.Parameter(torch.empty(channels, device="meta"), requires_grad=False))

    def draw(self, field: str, generator: np.random.Generator) -> ArrayLike:
        """Initial values, which torch has too: ones of the weight and the variance, zeros of bias and mean."""
        return np.full(self.channels, 1.0 if field in ("weight", "running_var") else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self.axes or x.shape[1] != self.channels:
            axes = " or ".join(map(str, self.axes))
            raise ValueError(f"batch normalisation of {self.channels} channels with {axes} axes cannot read {x.shape}")
        weight, bias = self._parameters.get("weight"), self._parameters.get("bias")
        mean, variance = self.running_mean, self.running_var
        if self.now is None:
            return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=self.eps)
        if x.numel() == self.channels:
            raise ValueError(
                "batch normalisation needs more than one value of a channel, and a mini-batch has one sample; choose "
                "another learning.batch_size, or let learning.last_batch be drop"
            )
        mean, variance = self.now.statistics.get(self, (mean.detach(), variance.detach()))
        out: Tensor
        out, _, _, *new = torch.ops.aten._native_batch_norm_legit_functional(
            x, weight, bias, mean, variance, True, self.momentum, self.eps
        )
        self.now.statistics[self] = new[0], new[1]
        return out


STATISTICS = "running_mean", "running_var"
"""Names of the running statistics of a layer, as in torch."""
NORMS: dict[type[nn.Module], tuple[int, ...]] = {nn.BatchNorm1d: (2, 3), nn.BatchNorm2d: (4,), nn.BatchNorm3d: (5,)}
"""Layers of torch that are rewritten as `BatchNorm`, with the allowed numbers of axes."""
REWRITTEN: dict[type[nn.Module], int | None] = {
    nn.Dropout: None,
    nn.Dropout1d: 2,
    nn.Dropout2d: 3,
    nn.Dropout3d: 4,
}
"""Layers of torch that are rewritten as `Dropout`, with the axes of a sample whose channels they drop."""


def rewritten(block: nn.Module) -> nn.Module:
    """The block, or a copy in which layers of this module stand in place of those of torch.

    Layers in evaluation mode, or with probability 0, do nothing and stay as they are.
    """
    return _replaced(deepcopy(block), {}) if any(map(_changes, block.modules())) else block


def _changes(module: nn.Module) -> bool:
    if type(module) in NORMS:
        return module.training and bool(module.track_running_stats) and module.momentum is not None
    return type(module) in REWRITTEN and module.training and getattr(module, "p", 0) > 0


def _pure(module: Any) -> nn.Module:
    """The layer of this module that takes the place of one of torch."""
    if type(module) in NORMS:
        return BatchNorm(module.num_features, module.eps, module.momentum, module.affine, NORMS[type(module)])
    return Dropout(module.p, REWRITTEN[type(module)])


def _replaced(module: nn.Module, known: dict[nn.Module, nn.Module]) -> nn.Module:
    """The module, or the layer that takes its place: the same one wherever a block uses it."""
    if module in known:
        return known[module]
    known[module] = _pure(module) if _changes(module) else module
    for name, child in list(module._modules.items()):  # with those that have several names
        if child is not None:
            setattr(module, name, _replaced(child, known))
    return known[module]


def training_layers(model: nn.Module) -> dict[str, TrainingLayer]:
    """Layers that compute something else while the model trains, by their names in it."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, TrainingLayer)}


class Training:
    """A model as it trains, as a pure function of its parameters, its input and draws."""

    def __init__(self, function: Stateless) -> None:
        self.function, self.layers = function, training_layers(function.module)

    def __call__(self, params: dict[str, Tensor], x: TrainingInput) -> Any:
        """The model's output for exactly these parameters."""
        return self.tracked(params, x)[0]

    def tracked(self, params: dict[str, Tensor], x: TrainingInput) -> tuple[Any, dict[str, Tensor]]:
        """The output, and the new running statistics of its layers of batch normalisation by name."""
        now = TrainingPass(iter(x.draws.values()))
        out = self._within(now, params, x.x)
        new = [
            (f"{name}.{field}", value)
            for name, layer in self.layers.items()
            for field, value in zip(STATISTICS, now.statistics.get(layer, ()), strict=False)
        ]
        return out, dict(new)

    def draw_shapes(self, params: dict[str, Tensor], x: Tensor) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the draws of a `TrainingInput`; of the arguments only the shapes matter."""
        now = TrainingPass()
        self._within(now, params, x)
        names = {layer: name for name, layer in self.layers.items()}
        calls: dict[str, tuple[int, ...]] = {}
        for layer, shape in now.shapes:
            number = sum(key.rpartition("/")[0] == names[layer] for key in calls)
            calls[f"{names[layer]}/{number}"] = shape
        return calls

    def _within(self, now: TrainingPass, params: dict[str, Tensor], x: Any) -> Any:
        for layer in self.layers.values():
            layer.now = now
        try:
            return self.function(params, x)
        finally:
            for layer in self.layers.values():
                layer.now = None
