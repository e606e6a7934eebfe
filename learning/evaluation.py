"""Evaluation on the test set, outside simulated time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import exp, inf, isfinite, isnan, nan
from statistics import fmean
from typing import Any, Literal, NamedTuple

import numpy as np

from learning import steps
from learning.adapters import Bound, Model
from learning.data import Dataset, Inputs, Rows, rows
from learning.deployed import Deployed, Deployment
from learning.executor import Executor
from learning.executor.deferred import specification
from learning.journal import Journal

CHUNK = 500
"""Test samples in one operation."""
UNCOMPRESSED = "uncompressed"
"""Suffix of a split that is evaluated by the whole model, in addition to the same one as the model is deployed."""
Path = Literal["deployed", "uncompressed", "both"]
"""How test samples reach the server's part of the model."""


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
        deployment: puts the links of a scheme into the model (default: test samples cross no link).
        path: whether samples cross the link of a scheme, or go through the whole model at once; or both, and the split
            of the latter is called `test_uncompressed`.
    """

    def __init__(
        self,
        executor: Executor,
        journal: Journal,
        dataset: Dataset,
        whole: Model,
        split: str = "test",
        deployment: Deployment | None = None,
        path: Path = "deployed",
    ) -> None:
        self.executor, self.journal, self.whole, self.split = executor, journal, whole, split
        self.deployment, self.path = deployment, path
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
        self,
        models: tuple[Any, ...],
        measures: Sequence[steps.Weights] = (),
        over: Sequence[Deployed] = (),
        *,
        round: int,
        time_s: float,
    ) -> None:
        """Write the rows of one evaluation; their values are null where the executor computes none.

        Args:
            models: the global model, or one model for each user, as given to `World.models`.
            measures: further scalars by name, as given to `World.measures`.
            over: the links by which samples reach the server's part, as given to `World.models`.
            round: number of the round after which it is.
            time_s: simulated time.
        """
        for split, links in self._paths(over).items():
            deferred = [[self._deferred(model, link) for link in links] for model in models]
            scores = self._scores(deferred, list(links.values())) if self.executor.computes else None
            for metric, summary in self._metrics(len(models)).items():
                value = summary(scores) if scores else None
                self.journal.evaluation(split, metric, value, self.samples, round=round, time_s=time_s)
                if split == self.split and value is not None:
                    self._note(metric, value)
        for tree in measures:
            values = self.executor.value(tree) if self.executor.computes else {}
            for name in specification(tree).tree:
                number = float(values[name]) if values else None
                self.journal.evaluation("train", name, number, self.training_samples, round=round, time_s=time_s)

    def _paths(self, over: Sequence[Deployed]) -> dict[str, Counter[Deployed | None]]:
        """The links of each split, with their numbers of users; None is the whole model at once."""
        whole: Counter[Deployed | None] = Counter([None])
        links = Counter([each if each.lossy else None for each in over]) if any(o.lossy for o in over) else whole
        if self.path == "both":
            return {self.split: links, f"{self.split}_{UNCOMPRESSED}": whole}
        return {self.split: links if self.path == "deployed" else whole}

    def _deferred(self, model: Any, over: Deployed | None) -> list[Any]:
        parts = model if isinstance(model, tuple) else (model,)
        segment, parts = (parts[0], parts[1:]) if isinstance(parts[0], Bound) else (self.whole, parts)
        whole = self.executor.submit(steps.merge, *parts) if len(parts) > 1 else parts[0]
        return [
            self.executor.submit(steps.evaluate, self._part(segment, over, x, number), whole, x, y)
            for number, (x, y) in enumerate(self.chunks)
        ]

    def _part(self, segment: Any, over: Deployed | None, x: Inputs, number: int) -> Any:
        if over is None or self.deployment is None:
            return segment
        return self.deployment.over(over, segment, x, number)

    def _scores(self, deferred: list[Any], users: list[int]) -> list[Score]:
        """The score of each model, which is the mean over users of those over their links."""
        values = self.executor.value(deferred)
        return [
            Score(*(_weighted(column, users) for column in zip(*map(self._score, links), strict=True)))
            for links in values
        ]

    def _score(self, chunks: Sequence[Any]) -> Score:
        return Score(*(float(sum(column)) / self.labels for column in zip(*chunks, strict=True)))

    def _note(self, metric: str, value: float) -> None:
        if metric == "accuracy":
            self.accuracy = value
        if metric == "loss":
            self.diverged = not isfinite(value)

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


def _weighted(values: Sequence[float], counts: Sequence[int]) -> float:
    """Mean of the values, each as often as it counts; the value itself if there is one."""
    if len(values) == 1:
        return values[0]
    return mean([value for value, count in zip(values, counts, strict=True) for _ in range(count)])


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
