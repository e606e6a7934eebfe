"""The classes that a model has detected in the samples of users, and how good these detections are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from learning.data import Rows
from learning.detection import balanced_accuracy, calibration_error, recalls
from learning.executor.deferred import Value
from learning.parties import User
from learning.world import World

SPLIT = "answers"
"""Split of the rows of the table `evaluations`."""


class Detection(NamedTuple):
    """One detection."""

    user: User
    logits: Value[Tensor]
    """Logits of the classes, (1, classes)."""
    y: Rows
    """True class, (1,)."""
    missing: int
    """Modalities of the model that were missing."""
    empty: bool
    """Whether all were, so that the class is that of the prior."""


class Detections:
    """Collects detections, and writes how good they are to the table `evaluations`, period by period.

    Metrics: `accuracy`, `loss`, `balanced_accuracy`, `recall_0` and so on by class, `calibration_error`, `missing`
    (mean number of modalities that were missing) and `empty` (share of samples without any).
    """

    def __init__(self, world: World) -> None:
        """None so far, in this world."""
        self.world = world
        self._made: list[Detection] = []

    def add(self, detection: Detection) -> None:
        """Note a detection."""
        self._made.append(detection)

    def report(self, number: int) -> None:
        """End period `number`, and write the rows of its detections, if there are any.

        Values that depend on classes are null where the executor computes none. A class that had no samples has no row.
        """
        world, made = self.world, self._made
        users = len({each.user for each in made})
        world.report_participation(users, users)
        for metric, value, samples in self._metrics() if made else ():
            world.journal.evaluation(SPLIT, metric, value, samples, round=number, time_s=world.env.now)
        self._made = []

    def _metrics(self) -> Iterator[tuple[str, float | None, int]]:
        """Name, value and number of samples of each metric."""
        made, computes = self._made, self.world.executor.computes
        count, classes = len(made), self.world.dataset.classes
        labels = np.concatenate([each.y.tensor().numpy() for each in made])
        scores: dict[str, float] = {}
        shares = np.full(classes, np.nan)
        if computes:
            outcomes = [self.world.executor.submit(outcome, each.logits, each.y) for each in made]
            rows = np.concatenate([np.stack(columns) for columns in self.world.executor.value(outcomes)], axis=1)
            predicted, confidence, loss = rows[0].astype(np.int64), rows[1], rows[2]
            shares = recalls(labels, predicted, classes)
            scores["accuracy"] = float((predicted == labels).mean())
            scores["loss"] = float(loss.mean())
            scores["balanced_accuracy"] = balanced_accuracy(shares)
            scores["calibration_error"] = calibration_error(confidence, predicted == labels)
        for metric in ("accuracy", "loss", "balanced_accuracy", "calibration_error"):
            yield metric, scores.get(metric), count
        for label, samples in enumerate(np.bincount(labels, minlength=classes).tolist()):
            if samples:
                yield f"recall_{label}", float(shares[label]) if computes else None, samples
        yield "missing", float(np.mean([each.missing for each in made])), count
        yield "empty", float(np.mean([each.empty for each in made])), count


def outcome(logits: Tensor, y: Tensor) -> list[Tensor]:
    """The most likely class, its probability, and the cross-entropy of the label: three floats (n,) each.

    Logits that are not all finite predict -1, which is no class.
    """
    confidence, predicted = logits.softmax(-1).max(-1)
    finite = logits.isfinite().all(-1)
    loss = F.cross_entropy(logits, y, reduction="none")
    return [predicted.to(logits.dtype).where(finite, -1.0), confidence, loss]
