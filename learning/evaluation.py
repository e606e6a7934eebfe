"""Evaluation on the test set, outside simulated time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import exp, inf, isfinite, isnan, nan
from statistics import fmean
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning import steps
from learning.adapters import Bound, Model
from learning.data import Dataset, Inputs, Rows, rows
from learning.deployed import Deployed, Deployment
from learning.detection import area, balanced_accuracy, shares
from learning.executor import Executor
from learning.executor.deferred import specification
from learning.journal import Journal
from learning.models import Multimodal

CHUNK = 500
"""Test samples in one operation."""
UNCOMPRESSED = "uncompressed"
"""Suffix of a split that is evaluated by the whole model, in addition to the same one as the model is deployed."""
Path = Literal["deployed", "uncompressed", "both"]
"""How test samples reach the server's part of the model."""


Metric = Literal["f1", "f1_by_class", "balanced_accuracy", "auroc", "auroc_by_class"]
"""Further metrics of classes; see `by_class` and `areas`."""

OWN = "own"
"""Split of the users' own parts of the test set."""


class Score(NamedTuple):
    """Result of one model on test samples."""

    measure: float
    """Share of correct predictions; of numbers that are predicted, the mean absolute error."""
    loss: float
    """Mean loss."""


class Samples(NamedTuple):
    """Samples on which models are evaluated."""

    chunks: list[tuple[Inputs, Rows]]
    """Samples and labels, at most `CHUNK` in each operation."""
    size: int
    """Number of samples."""
    labels: int
    """Number of labels, which is larger where every token has one."""

    @classmethod
    def of(cls, dataset: Dataset, numbers: NDArray[np.int64]) -> Samples:
        """The samples of the test set with these numbers."""
        starts = range(0, len(numbers), CHUNK)
        chunks = [rows(dataset, "test", numbers[start : start + CHUNK]) for start in starts]
        return cls(chunks, len(numbers), len(numbers) * dataset.test.y[:1].numel())


Scored = tuple[Score | None, Samples]
"""A model's score on samples; None where none was computed."""


class Evaluator:
    """Computes test accuracy and loss of one global model, or their mean, minimum and maximum over users' models.

    Where every token has a label, it also computes the perplexity, exp(loss). Where numbers are predicted, it computes
    the mean absolute and the mean squared error (`mae`, `mse`) instead of the accuracy.

    Args:
        executor: the executor.
        journal: writes the rows of the table `evaluations`.
        dataset: the data set, whose test set is used.
        whole: the whole model.
        split: name of the test set in the table.
        deployment: puts the links of a scheme into the model (default: test samples cross no link).
        path: whether samples cross the link of a scheme, or go through the whole model at once; or both, and the split
            of the latter is called `test_uncompressed`.
        own: user -> its own part of the test set, of users that are evaluated one by one too (default: none).
        metrics: further metrics of the classes in the split `test` (default: none).
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
        own: Mapping[int, NDArray[np.int64]] = MappingProxyType({}),
        metrics: Sequence[Metric] = (),
    ) -> None:
        self.executor, self.journal, self.whole, self.split = executor, journal, whole, split
        self.deployment, self.path = deployment, path
        self.further, self.names = metrics, dataset.names or tuple(map(str, range(dataset.classes)))
        self.labels = dataset.test.y.numpy() if metrics else np.zeros(0, dtype=np.int64)
        self.missed = _all_missed(dataset) if metrics else np.zeros((dataset.classes, 3), dtype=np.int64)
        self.regression = dataset.task == "regression"
        self.tokens = dataset.task == "classification" and dataset.test.y.ndim > 1
        self.training_samples = len(dataset.train.y)
        self.test = Samples.of(dataset, np.arange(len(dataset.test.y)))
        self.own = {user: Samples.of(dataset, numbers) for user, numbers in own.items()}
        self.latest: dict[str, float] = {}
        """Metrics of the split by their names at the latest evaluation; empty before the first."""
        self.diverged = False
        """Whether the loss of the latest evaluation is infinite or not a number."""

    def __call__(
        self,
        models: tuple[Any, ...],
        measures: Sequence[steps.Weights] = (),
        over: Sequence[Deployed] = (),
        under: Mapping[str, Deployed] = MappingProxyType({}),
        *,
        round: int,
        time_s: float,
    ) -> None:
        """Write the rows of one evaluation; their values are null where the executor computes none.

        Args:
            models: the global model, or one model for each user, as given to `World.models`; none if a scheme reports
                measures only.
            measures: further scalars by name, as given to `World.measures`.
            over: the links by which samples reach the server's part, as given to `World.models`.
            under: further links by name, as given to `World.models`.
            round: number of the round after which it is.
            time_s: simulated time.
        """
        write, paths = partial(self.journal.evaluation, round=round, time_s=time_s), self._paths(over)
        paths |= {f"{self.split}_{name}": Counter([link]) for name, link in under.items()}
        whole = [self._whole(model) for model in models]
        for split, links in paths.items() if whole else ():
            scored = self._scored([(model, self.test) for model in whole], links)
            for metric, value in self._metrics(scored):
                write(split, metric, value, self.test.size)
                if split == self.split and value is not None:
                    self._note(metric, value)
            if self.further and split == self.split:
                for metric, value in self._by_class(whole, links).items():
                    write(split, metric, value, self.test.size)
                    if value is not None:
                        self._note(metric, value)
            if self.own and len(whole) > 1:
                self._write_each(partial(write, split), dict(enumerate(scored)))
        if self.own and whole:
            each = [(whole[user if len(whole) > 1 else 0], samples) for user, samples in self.own.items()]
            scored = self._scored(each, paths[self.split])
            for metric, value in self._metrics(scored):
                write(OWN, metric, value, sum(samples.size for _, samples in scored))
            self._write_each(partial(write, OWN), dict(zip(self.own, scored, strict=True)))
        for tree in measures:
            values = self.executor.value(tree) if self.executor.computes else {}
            for name in specification(tree).tree:
                number = float(values[name]) if values else None
                write("train", name, number, self.training_samples)

    def _write_each(self, write: Callable[..., None], scored: Mapping[int, Scored]) -> None:
        for user, each in scored.items():
            for metric, value in self._metrics([each]):
                write(metric, value, each[1].size, user=user)

    def _paths(self, over: Sequence[Deployed]) -> dict[str, Counter[Deployed | None]]:
        """The links of each split, with their numbers of users; None is the whole model at once."""
        whole: Counter[Deployed | None] = Counter([None])
        links = Counter([each if each.lossy else None for each in over]) if any(o.lossy for o in over) else whole
        if self.path == "both":
            return {self.split: links, f"{self.split}_{UNCOMPRESSED}": whole}
        return {self.split: links if self.path == "deployed" else whole}

    def _scored(
        self, models: Sequence[tuple[tuple[Any, Any], Samples]], links: Counter[Deployed | None]
    ) -> list[Scored]:
        """Each model's score on its samples, the mean over users of those over their links; None without values."""
        deferred = [[self._deferred(model, link, samples) for link in links] for model, samples in models]
        if not self.executor.computes:
            return [(None, samples) for _, samples in models]
        return [
            (_mean_score([_score(chunks, samples.labels) for chunks in values], list(links.values())), samples)
            for values, (_, samples) in zip(self.executor.value(deferred), models, strict=True)
        ]

    def _by_class(self, models: Sequence[tuple[Any, Any]], links: Counter[Deployed | None]) -> dict[str, float | None]:
        """Further metrics of the split `test`, the mean over models, each the mean of users over their links."""
        by_counts, by_scores = self._over_models(models, links, by_class), {}
        if set(self.further) & {"auroc", "auroc_by_class"}:
            by_scores = self._over_models(models, links, areas)
        return by_counts | by_scores

    def _over_models(
        self, models: Sequence[tuple[Any, Any]], links: Counter[Deployed | None], rule: Callable[..., dict[str, float]]
    ) -> dict[str, float | None]:
        """Metrics by `by_class` or by `areas`."""
        counts = rule is by_class
        operation, combined = (steps.counted, np.sum) if counts else (steps.class_scores, np.concatenate)
        metrics = partial(rule, names=self.names, metrics=self.further, **({} if counts else {"labels": self.labels}))
        deferred = [[self._deferred(model, link, self.test, operation) for link in links] for model in models]
        if not self.executor.computes:
            known = self.missed if counts else np.zeros((self.test.labels, len(self.names)))
            return dict.fromkeys(metrics(known))
        found = [
            [metrics(combined([each.numpy() for each in chunks], axis=0)) for chunks in row]
            for row in self.executor.value(deferred)
        ]
        users = list(links.values())
        return {name: mean([_weighted([each[name] for each in row], users) for row in found]) for name in found[0][0]}

    def parts(self, model: Any) -> tuple[Any, tuple[Any, ...]]:
        """The segment that a model, as given to `World.models`, belongs to, and the weights of its parts."""
        parts = model if isinstance(model, tuple) else (model,)
        given = isinstance(parts[0], Bound | Multimodal)
        return (parts[0], parts[1:]) if given else (self.whole, parts)

    def _whole(self, model: Any) -> tuple[Any, Any]:
        """The segment that a model belongs to, and its parts put together."""
        segment, parts = self.parts(model)
        return segment, self.executor.submit(steps.merge, *parts) if len(parts) > 1 else parts[0]

    def _deferred(
        self,
        model: tuple[Any, Any],
        over: Deployed | None,
        samples: Samples,
        operation: Callable[..., Any] = steps.evaluate,
    ) -> list[Any]:
        segment, whole = model
        return [
            self.executor.submit(operation, self._part(segment, over, x, number), whole, x, y)
            for number, (x, y) in enumerate(samples.chunks)
        ]

    def _part(self, segment: Any, over: Deployed | None, x: Inputs, number: int) -> Any:
        if over is None or self.deployment is None:
            return segment
        return self.deployment.over(over, segment, x, number)

    def _note(self, metric: str, value: float) -> None:
        self.latest[metric] = value
        if metric == "loss":
            self.diverged = not isfinite(value)

    def _metrics(self, scored: Sequence[Scored]) -> Iterator[tuple[str, float | None]]:
        """Names and values of the metrics of one model, or of several together; values are None without scores."""
        measures, losses = ([getattr(score, name) for score, _ in scored if score] for name in Score._fields)
        name = "mae" if self.regression else "accuracy"
        yield name, mean(measures) if measures else None
        yield "loss", mean(losses) if losses else None
        if self.regression:
            yield "mse", mean(losses) if losses else None
        if self.tokens:
            yield "perplexity", perplexity(mean(losses)) if losses else None
        if len(scored) > 1:
            yield f"{name}_min", min(measures, default=None)
            yield f"{name}_max", max(measures, default=None)


def _score(chunks: Sequence[Any], labels: int) -> Score:
    return Score(*(float(sum(column)) / labels for column in zip(*chunks, strict=True)))


def _mean_score(scores: Sequence[Score], users: Sequence[int]) -> Score:
    """The mean over users, so many of whom have each score."""
    return Score(*(_weighted(column, users) for column in zip(*scores, strict=True)))


def _weighted(values: Sequence[float], counts: Sequence[int]) -> float:
    """Mean of the values, each as often as it counts; the value itself if there is one."""
    if len(values) == 1:
        return values[0]
    return mean([value for value, count in zip(values, counts, strict=True) for _ in range(count)])


def _all_missed(dataset: Dataset) -> NDArray[np.int64]:
    """Counts as of `by_class` for the test set, of predictions among which no class is."""
    y = dataset.test.y.numpy()
    samples = y.sum(0) if y.dtype == np.bool_ else np.bincount(y.reshape(-1), minlength=dataset.classes)
    return np.stack([0 * samples, 0 * samples, samples], axis=-1).astype(np.int64)


def by_class(counts: NDArray[np.int64], names: Sequence[str], metrics: Sequence[Metric]) -> dict[str, float]:
    """Metrics of the classes.

    Args:
        counts: right, wrong and missing predictions of each class, (classes, 3).
        names: names of the classes.
        metrics: which: `f1`, the mean F1 score of the classes that the test set has; `f1_by_class`, that of each of
            these, as `f1_<name>`; `balanced_accuracy`, the mean over these classes of the share that is recognised.
    """
    right, wrong, missed = counts.T
    there = right + missed > 0
    scores = 2 * right[there] / (2 * right + wrong + missed)[there]
    found = {"f1": mean(scores.tolist())} if "f1" in metrics and there.any() else {}
    if "balanced_accuracy" in metrics and there.any():
        found["balanced_accuracy"] = balanced_accuracy(shares(right, right + missed))
    if "f1_by_class" in metrics:
        found |= {f"f1_{name}": float(score) for name, score in zip(np.array(names)[there], scores, strict=True)}
    return found


def areas(
    scores: NDArray[np.float64], labels: NDArray[Any], names: Sequence[str], metrics: Sequence[Metric]
) -> dict[str, float]:
    """Areas under the receiver operating characteristic of each class against all others.

    Args:
        scores: probability of each class for each label, (labels, classes), or any scores that rank labels alike.
        labels: numbers of classes, in any shape, or bool (samples, classes).
        names: names of the classes.
        metrics: which: `auroc`, the mean over the classes that some labels have and others have not; `auroc_by_class`,
            that of each of these, as `auroc_<name>`.
    """
    several = labels.dtype == np.bool_
    positive = labels if several else labels.reshape(-1)[:, None] == np.arange(scores.shape[1])
    told = [k for k in range(scores.shape[1]) if 0 < positive[:, k].sum() < len(positive)]
    each = {f"auroc_{names[k]}": area(positive[:, k], scores[:, k]) for k in told}
    found = {"auroc": mean([*each.values()])} if "auroc" in metrics and each else {}
    return found | (each if "auroc_by_class" in metrics else {})


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
