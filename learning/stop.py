"""When a run ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

StopMetric = Literal["loss", "accuracy", "mae", "mse", "perplexity", "f1", "balanced_accuracy", "auroc"]
"""Metrics by which a run may stop early."""
FALLING = ("loss", "mae", "mse", "perplexity")
"""Those that are to fall."""


@dataclass(frozen=True)
class Stop:
    """When a run ends: as soon as one of the criteria given holds at the end of a round."""

    rounds: Annotated[int, Ge(1)] | None = None
    """Number of rounds."""
    time_s: Annotated[float, Gt(0)] | None = None
    """Simulated seconds."""
    accuracy: Annotated[float, Gt(0), Le(1)] | None = None
    """Test accuracy at the latest evaluation."""
    patience: Annotated[int, Ge(1)] | None = None
    """Evaluations in a row in which `metric` does not improve, after which the run ends (early stopping)."""
    metric: StopMetric = "loss"
    """Metric of the split `test` by which `patience` goes; losses and errors are to fall, all others to rise."""
    min_delta: Annotated[float, Ge(0)] = 0.0
    """An improvement of `metric` is a change from its best value so far by more than this."""
    on_divergence: Literal["continue", "stop"] = "continue"
    """What happens when the test loss of an evaluation is no longer finite: `continue` goes on until one of the
    criteria holds; `stop` ends the run after that round, with status `diverged`."""

    def __post_init__(self) -> None:
        if self.rounds is None and self.time_s is None and not self.by_values:
            raise ValueError("no criterion is given; give rounds, time_s, accuracy or patience, or several of them")
        if self.patience is None and (self.metric != "loss" or self.min_delta):
            raise ValueError("metric and min_delta are those of early stopping; give patience")

    @property
    def by_values(self) -> str:
        """The field by which values of evaluations may end the run, `accuracy` or `patience`; empty if none does."""
        return "accuracy" if self.accuracy is not None else "patience" if self.patience is not None else ""

    def without_values(self, rounds: int | None) -> Stop:
        """The criteria of a run without values, which ends after so many rounds at the latest."""
        return replace(self, accuracy=None, patience=None, metric="loss", min_delta=0.0, rounds=rounds)


class Patience:
    """Early stopping: how many evaluations ago the metric had its best value."""

    # Prechelt, Early stopping, but when?, 1998; the rule is that of Keras' EarlyStopping.

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self._sign = -1.0 if stop.metric in FALLING else 1.0
        self._best = -inf
        self.waited = 0
        """Evaluations since the best one."""

    def note(self, value: float) -> None:
        """Take the value of the metric in one more evaluation; one that is no number is no improvement."""
        improved = self._sign * value - self.stop.min_delta > self._best
        self._best = self._sign * value if improved else self._best
        self.waited = 0 if improved else self.waited + 1

    @property
    def over(self) -> bool:
        """Whether the run ends."""
        return self.stop.patience is not None and self.waited >= self.stop.patience
