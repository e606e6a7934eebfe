"""Evaluation on the test set, outside simulated time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, inf, isfinite, isnan, nan
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from learning import steps
from learning.adapters import Bound, Model
from learning.data import Dataset, Inputs, Rows, rows
from learning.executor import Executor
from learning.executor.deferred import specification
from learning.ports import Journal

CHUNK = 500
"""Test samples in one operation."""


class Score(NamedTuple):
    """Result of one model on the test set."""

    accuracy: float
    """Share of correct predictions."""
    loss: float
    """Mean cross-entropy."""


class Evaluator:
    """Computes test accuracy and loss of one global model, or their mean, minimum and maximum over users' models.

    Where every token has a label, it also computes the perplexity, exp(loss).

    Args:
        executor: the executor.
        journal: writes the rows of the table `evaluations`.
        dataset: the data set, whose test set is used.
        whole: the whole model.
        split: name of the test set in the table.
    """

    def __init__(
        self,
        executor: Executor,
        journal: Journal,
        dataset: Dataset,
        whole: Model,
        split: str = "test",
    ) -> None:
        self.executor, self.journal, self.whole, self.split = executor, journal, whole, split
        self.training_samples = len(dataset.train.y)
        self.samples, self.labels = len(dataset.test.y), dataset.test.y.numel()
        self.chunks = [
            _chunk(dataset, start, min(start + CHUNK, self.samples)) for start in range(0, self.samples, CHUNK)
        ]
        self.accuracy = 0.0
        """Accuracy at the latest evaluation; 0 before the first."""
        self.diverged = False
        """Whether the loss of the latest evaluation is infinite or not a number."""

    def __call__(
        self, models: tuple[Any, ...], measures: Sequence[steps.Weights] = (), *, round: int, time_s: float
    ) -> None:
        """Write the rows of one evaluation; their values are null where the executor computes none.

        Args:
            models: the global model, or one model for each user, as given to `World.models`.
            measures: further scalars by name, as given to `World.measures`.
            round: number of the round after which it is.
            time_s: simulated time.
        """
        deferred = [self._deferred(model) for model in models]
        scores = self._scores(deferred) if self.executor.computes else None
        for metric, summary in self._metrics(len(models)).items():
            value = summary(scores) if scores else None
            self.journal.evaluation(self.split, metric, value, self.samples, round=round, time_s=time_s)
            if metric == "accuracy" and value is not None:
                self.accuracy = value
            if metric == "loss" and value is not None:
                self.diverged = not isfinite(value)
        for tree in measures:
            values = self.executor.value(tree) if self.executor.computes else {}
            for name in specification(tree).tree:
                number = float(values[name]) if values else None
                self.journal.evaluation("train", name, number, self.training_samples, round=round, time_s=time_s)

    def _deferred(self, model: Any) -> list[Any]:
        parts = model if isinstance(model, tuple) else (model,)
        segment, parts = (parts[0], parts[1:]) if isinstance(parts[0], Bound) else (self.whole, parts)
        whole = self.executor.submit(steps.merge, *parts) if len(parts) > 1 else parts[0]
        return [self.executor.submit(steps.evaluate, segment, whole, x, y) for x, y in self.chunks]

    def _scores(self, deferred: list[Any]) -> list[Score]:
        return [
            Score(*(float(sum(column)) / self.labels for column in zip(*chunks, strict=True)))
            for chunks in self.executor.value(deferred)
        ]

    def _metrics(self, models: int) -> dict[str, Callable[[list[Score]], float]]:
        metrics: dict[str, Callable[[list[Score]], float]] = {
            "accuracy": lambda scores: mean([score.accuracy for score in scores]),
            "loss": lambda scores: mean([score.loss for score in scores]),
        }
        if self.labels > self.samples:
            metrics["perplexity"] = lambda scores: perplexity(mean([score.loss for score in scores]))
        if models > 1:
            metrics["accuracy_min"] = lambda scores: min(score.accuracy for score in scores)
            metrics["accuracy_max"] = lambda scores: max(score.accuracy for score in scores)
        return metrics


def mean(values: Sequence[float]) -> float:
    """The mean, which may be infinite or NaN; every NaN is returned as the same one, without regard to its sign."""
    try:
        value = fmean(values)
    except OverflowError:  # finite values whose sum is not
        return inf
    return nan if isnan(value) else value


def perplexity(loss: float) -> float:
    """exp(loss); infinite where that exceeds the largest float, from a loss of about 709.8."""
    try:
        return exp(loss)
    except OverflowError:
        return inf


def _chunk(dataset: Dataset, start: int, end: int) -> tuple[Inputs, Rows]:
    return rows(dataset, "test", np.arange(start, end))
