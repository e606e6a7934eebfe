"""Learning rates over rounds or steps, and optimisers that begin anew in each local round."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import Annotated, Any, Literal, Protocol

import torch
from annotated_types import Ge, Gt, Interval, Le
from torch import Tensor
from torch.utils._pytree import register_pytree_node, tree_map

from learning.optimisers import Optimiser, Params, Wrapped

Over = Literal["rounds", "steps"]
"""What a schedule counts: rounds, or the steps of each optimiser since its state was new."""


class Schedule(Protocol):
    """A learning rate over rounds, or over steps."""

    @property
    def over(self) -> Over:
        """What it counts."""
        ...

    def factor(self, number: int) -> float:
        """Factor of the learning rate in round `number`, from 0; under an asynchronous policy, before that update."""
        ...

    def factors(self, number: Tensor) -> Tensor:
        """The same, at step `number`, an int64 tensor, by operations of torch; float64 in its shape."""
        ...


@dataclass(frozen=True)
class Exponential:
    """The learning rate decays by the same factor from one round to the next (torch's ExponentialLR)."""

    decay: Annotated[float, Gt(0), Le(1)] = 0.99
    """Factor from one round to the next."""
    over: Over = "rounds"
    """Whether rounds are counted, or the steps of each optimiser."""

    def factor(self, number: int) -> float:
        return float(self.decay**number)

    def factors(self, number: Tensor) -> Tensor:
        return torch.pow(self.decay, number.to(torch.float64))


@dataclass(frozen=True)
class Step:
    """The learning rate decays by a factor every so many rounds (torch's StepLR)."""

    every: Annotated[int, Ge(1)]
    """Rounds between two decays."""
    decay: Annotated[float, Gt(0), Le(1)] = 0.1
    """Factor of a decay."""
    over: Over = "rounds"
    """Whether rounds are counted, or the steps of each optimiser."""

    def factor(self, number: int) -> float:
        return float(self.decay ** (number // self.every))

    def factors(self, number: Tensor) -> Tensor:
        return torch.pow(self.decay, torch.div(number, self.every, rounding_mode="floor").to(torch.float64))


@dataclass(frozen=True)
class Cosine:
    """Linear increase, then half a period of a cosine from 1 down to a smallest factor, which remains."""

    # Loshchilov and Hutter, SGDR, arXiv 1608.03983, equation 5, without restarts.

    rounds: Annotated[int, Ge(1)]
    """Rounds until the smallest factor is reached, those of the increase included."""
    smallest: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """The smallest factor."""
    warmup: Annotated[int, Ge(0)] = 0
    """Rounds of the increase: factor 1 / warmup in the first round, 1 in the last of them."""
    over: Over = "rounds"
    """Whether rounds are counted, also in the fields `rounds` and `warmup`, or the steps of each optimiser."""

    def __post_init__(self) -> None:
        if self.warmup >= self.rounds:
            raise ValueError(f"warmup = {self.warmup} leaves none of the rounds = {self.rounds} for the decay")

    def factor(self, number: int) -> float:
        if number < self.warmup:
            return (number + 1) / self.warmup
        passed = min(1.0, (number - self.warmup) / (self.rounds - self.warmup))
        return self.smallest + (1 - self.smallest) * (1 + cos(pi * passed)) / 2

    def factors(self, number: Tensor) -> Tensor:
        at = number.to(torch.float64)
        passed = torch.clamp((at - self.warmup) / (self.rounds - self.warmup), 0, 1)
        decayed = self.smallest + (1 - self.smallest) * (1 + torch.cos(pi * passed)) / 2
        return torch.where(at < self.warmup, (at + 1) / max(self.warmup, 1), decayed)


SCHEDULES: dict[str, type] = {"exponential": Exponential, "step": Step, "cosine": Cosine}


@dataclass(frozen=True, eq=False)
class Scaled(Wrapped):
    """An optimiser whose learning rate is multiplied by a factor, a tensor: a step goes this fraction of the way.

    Steps of the inner optimiser must be in proportion to its learning rate.
    For an executor it is a tree of operands, so that it is the same operation in all rounds.
    """

    factor: Tensor
    """The factor, a float64 scalar."""

    def step(self, params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        """One update of the parameters; arguments as of the inner optimiser."""
        moved, state = self.inner.step(params, grads, state)
        near = {name: value + self.factor.to(value.dtype) * (moved[name] - value) for name, value in params.items()}
        return near, state


@dataclass(frozen=True, eq=False)
class ScaledBySteps(Wrapped):
    """An optimiser whose learning rate is multiplied by a factor that depends on the number of its steps.

    For an executor it is a tree of operands.
    """

    schedule: Schedule
    """The factor at each step."""

    def init(self, params: Params) -> Any:
        """State before the first step: the number of steps, an int64 scalar, and the state of the inner optimiser."""
        device = next((value.device for value in params.values()), None)
        return torch.zeros((), dtype=torch.int64, device=device), self.inner.init(params)

    def step(self, params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        """One update of the parameters; arguments as of the inner optimiser."""
        done, inner_state = state
        params, inner_state = Scaled(self.inner, self.schedule.factors(done)).step(params, grads, inner_state)
        return params, (done + 1, inner_state)


@dataclass(frozen=True, eq=False)
class Restarted(Wrapped):
    """An optimiser whose state is that before the first step, when the first step of a round is taken.

    For an executor it is a tree of operands, so that it is the same operation in all rounds.
    """

    number: Tensor
    """Number of the round, an int64 scalar."""

    def init(self, params: Params) -> Any:
        """State before the first step: the round of the last step (-1), and the state of the inner optimiser."""
        state = self.inner.init(params)
        return (torch.full_like(self.number, -1), state) if state else ()

    def step(self, params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        """One update of the parameters; arguments as of the inner optimiser."""
        if not state:
            return self.inner.step(params, grads, state)
        last, kept = state
        current = tree_map(lambda old, new: torch.where(last == self.number, old, new), kept, self.inner.init(params))
        params, current = self.inner.step(params, grads, current)
        return params, (self.number, current)


register_pytree_node(Scaled, lambda each: ([each.inner, each.factor], None), lambda leaves, _: Scaled(*leaves))
register_pytree_node(
    ScaledBySteps, lambda each: ([each.inner, each.schedule], None), lambda leaves, _: ScaledBySteps(*leaves)
)
register_pytree_node(Restarted, lambda each: ([each.inner, each.number], None), lambda leaves, _: Restarted(*leaves))


def in_round(optimiser: Optimiser, number: int, schedule: Schedule | None, restarted: bool) -> Optimiser:
    """The optimiser of a round.

    Args:
        optimiser: the optimiser of the scenario.
        number: number of the round.
        schedule: factors of the learning rate (default: 1).
        restarted: whether its state is that before the first step, when a round begins.
    """
    if schedule is not None and schedule.over == "steps":
        optimiser, schedule = ScaledBySteps(optimiser, schedule), None
    if restarted:
        optimiser = Restarted(optimiser, torch.tensor(number))
    if schedule is not None:
        optimiser = Scaled(optimiser, torch.tensor(schedule.factor(number), dtype=torch.float64))
    return optimiser
