"""Optimisers as pure functions with explicit state.

In float32 on a CPU they equal torch.optim's bit for bit; in float64 SGD does, and the others but for the last bit of
bias corrections.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor

from learning.executor.deferred import Tree

Params = dict[str, Tensor]


class Optimiser(Protocol):
    """An update rule with explicit state; hashable, and equal ones are the same rule."""

    @property
    def learning_rate(self) -> float:
        """Step size."""
        ...

    def init(self, params: Params) -> Tree:
        """State before the first step, for parameters of these names, shapes and dtypes: a tree of tensors, or ()."""
        ...

    def step(self, params: Params, grads: Params, state: Tree) -> tuple[Params, Tree]:
        """One update of the parameters; its arguments are not modified.

        Args:
            params: parameters by name.
            grads: their gradients, by the same names and in the same shapes.
            state: as `init` or the last `step` returned it.

        Returns:
            The new parameters and the new state.
        """
        ...


@dataclass(frozen=True, eq=False)
class Wrapped:
    """Base of optimisers that change the gradients, the steps or the state of another one."""

    inner: Optimiser
    """The optimiser that takes the steps."""

    @property
    def learning_rate(self) -> float:
        """Step size."""
        return self.inner.learning_rate

    def init(self, params: Params) -> Any:
        """State before the first step, as of the inner optimiser."""
        return self.inner.init(params)


@dataclass(frozen=True, kw_only=True)
class Clipping:
    """Clipping of gradients by their norm, which all optimisers can do."""

    clip_norm: Annotated[float, Gt(0)] | None = None
    """Maximum Euclidean norm of all gradients of a step together; larger ones are scaled down to it (default: none).
    In a split model, those of the device and those of the server are clipped separately."""

    # Pascanu, Mikolov and Bengio, arXiv 1211.5063, algorithm 1; the denominator is that of torch.

    def clipped(self, grads: Params) -> Params:
        """The gradients of a step, after clipping (torch.nn.utils.clip_grad_norm_)."""
        if self.clip_norm is None:
            return grads
        norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in grads.values()])
        factor = torch.clamp(self.clip_norm / (torch.linalg.vector_norm(norms) + 1e-6), max=1.0)
        return {name: gradient * factor for name, gradient in grads.items()}


@dataclass(frozen=True)
class Sgd(Clipping):
    """Stochastic gradient descent with momentum and weight decay (torch.optim.SGD)."""

    learning_rate: Annotated[float, Gt(0)] = 0.05
    """Step size."""

    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Factor by which the last step's velocity is kept; 0 is plain gradient descent without state."""

    weight_decay: Annotated[float, Ge(0)] = 0.0
    """L2 penalty: this multiple of the parameter is added to its gradient."""

    def init(self, params: Params) -> Any:
        return {name: torch.zeros_like(value) for name, value in params.items()} if self.momentum else ()

    def step(self, params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        velocity = decayed(params, self.clipped(grads), self.weight_decay)
        if self.momentum:
            velocity = {name: torch.add(state[name] * self.momentum, g) for name, g in velocity.items()}
        moved = {name: torch.add(value, velocity[name], alpha=-self.learning_rate) for name, value in params.items()}
        return moved, velocity if self.momentum else ()


@dataclass(frozen=True)
class Adam(Clipping):
    """Adam with bias correction (torch.optim.Adam); Kingma and Ba, arXiv 1412.6980, algorithm 1."""

    # In float64 a bias correction may differ from torch.optim's in its last bit at some step numbers: powers are taken
    # here by the vector unit, whose rounding differs from one kind of CPU to another, and there by the C library.

    learning_rate: Annotated[float, Gt(0)] = 1e-3
    """Step size."""

    beta1: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    """Decay of the running mean of gradients."""

    beta2: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """Decay of the running mean of squared gradients."""

    epsilon: Annotated[float, Gt(0)] = 1e-8
    """Added to the square root of the second moment."""

    weight_decay: Annotated[float, Ge(0)] = 0.0
    """L2 penalty: this multiple of the parameter is added to its gradient."""

    def init(self, params: Params) -> Any:
        """Number of steps done (a float64 scalar, so that powers are exact enough), first and second moments."""
        device = next((value.device for value in params.values()), None)
        zeros = {name: torch.zeros_like(value) for name, value in params.items()}
        return torch.zeros((), dtype=torch.float64, device=device), zeros, dict(zeros)

    def step(self, params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        done, first, second = state
        done = done + 1
        grads = decayed(params, self.clipped(grads), self.weight_decay)
        first = {name: torch.lerp(first[name], g, 1 - self.beta1) for name, g in grads.items()}
        second = {
            name: torch.addcmul(second[name] * self.beta2, g, g, value=1 - self.beta2) for name, g in grads.items()
        }
        stride = torch.full_like(done, -self.learning_rate) / (1 - torch.pow(self.beta1, done))
        root = torch.sqrt(1 - torch.pow(self.beta2, done))
        moved = {
            name: value + self._move(first[name], second[name], stride.to(value.dtype), root.to(value.dtype))
            for name, value in params.items()
        }
        return moved, (done, first, second)

    def _move(self, first: Tensor, second: Tensor, stride: Tensor, root: Tensor) -> Tensor:
        return stride * first / (second.sqrt() / root + self.epsilon)  # multiplied before divided, as addcdiv does


@dataclass(frozen=True)
class AdamW(Clipping):
    """Adam with decoupled weight decay (torch.optim.AdamW); Loshchilov and Hutter, arXiv 1711.05101, algorithm 2."""

    learning_rate: Annotated[float, Gt(0)] = 1e-3
    """Step size."""

    beta1: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    """Decay of the running mean of gradients."""

    beta2: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """Decay of the running mean of squared gradients."""

    epsilon: Annotated[float, Gt(0)] = 1e-8
    """Added to the square root of the second moment."""

    weight_decay: Annotated[float, Ge(0)] = 1e-2
    """Before each step a parameter is multiplied by one minus the step size times this number."""

    def init(self, params: Params) -> Any:
        """As of Adam."""
        return self._adam.init(params)

    def step(self, params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        kept = 1 - self.learning_rate * self.weight_decay
        return self._adam.step({name: value * kept for name, value in params.items()}, self.clipped(grads), state)

    @property
    def _adam(self) -> Adam:
        return Adam(self.learning_rate, self.beta1, self.beta2, self.epsilon)


def decayed(params: Params, grads: Params, weight_decay: float) -> Params:
    """Gradients of the loss with the L2 penalty weight_decay / 2 times the squared norm of the parameters."""
    if not weight_decay:
        return grads
    return {name: torch.add(grads[name], value, alpha=weight_decay) for name, value in params.items()}


OPTIMISERS: dict[str, type] = {"sgd": Sgd, "adam": Adam, "adamw": AdamW}
