"""Prefetch: the experts of the next layer are predicted in the present one, and fetched to the user's cache ahead.

user           while the experts of a layer work: a prediction of what its tokens will choose in the next layer
cloud -> edge  the predicted experts that only the cloud holds, if the eviction policy of the cache makes room for them

A right prediction hides the fetch, or a part of it, behind the present layer; a wrong one wastes its bits. The choice
of the gate of the next layer is what it was, so no value depends on predictions.
[Speculative loading of experts: Eliseev and Mazur, arXiv 2312.17238]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple, Protocol

import numpy as np
import torch
from annotated_types import MinLen
from numpy.typing import NDArray
from torch import Tensor

from learning.executor.deferred import Value
from learning.inference.operations import predicted
from learning.parties import StandIn, User
from learning.ports import Process
from learning.routing import Layer
from learning.routing.tables import changed_ns, integers, read
from learning.steps import Parameters

MAX_READ = 16
"""Recordings that a process keeps."""


class Ahead(NamedTuple):
    """What is known of a user's tokens in a layer, to predict their choice in the next one."""

    user: User
    """The user."""
    layer: Layer
    """The next layer."""
    gate: Parameters
    """Weights of its gate, one tensor (experts, width)."""
    tokens: Value[Tensor]
    """The normalised tokens of the present layer, (1, tokens, width)."""
    chosen: Tensor
    """The experts of the tokens in the present layer, (tokens, top_k), integers that have been read."""
    stand_in: StandIn
    """Makes the choice of the next layer in dry runs."""


class Prefetch(Protocol):
    """A predictor of the experts that tokens choose in the next layer."""

    def check(self, experts: int) -> None:
        """Raise ValueError if it cannot predict for layers with so many experts."""
        ...

    def predict(self, ahead: Ahead) -> Process[Tensor]:
        """Predict the experts of each token in the next layer: (tokens, top_k), the most likely one first."""
        ...


@dataclass(frozen=True)
class NextGate:
    """The gate of the next layer is applied to the tokens of the present layer; the user's device computes it.

    A dry run computes no gates: its predictions are the choices themselves, and so always right.
    """

    def check(self, experts: int) -> None:
        """Accept any model."""

    def predict(self, ahead: Ahead) -> Process[Tensor]:
        top_k = ahead.chosen.shape[-1]
        ids = yield from ahead.user.do(predicted, ahead.gate, ahead.tokens, top_k, kind="prefetch_gate")
        return (yield from ahead.user.read(ids, ahead.stand_in))


@dataclass(frozen=True)
class RecordedPairs:
    """Predictions by how often a published model chose experts of successive layers together for the same token.

    The next experts are those with the largest mean probability, given each of the present ones. The file is a table
    (Parquet) with the columns `layer_a`, `layer_b`, `expert_a`, `expert_b` and `count`, and optionally `model`,
    `domain` and `selection` as for `routing: {name: recorded}`. Layers l and l + 1 of L have the recorded pair of
    layers at the same relative depth: of n pairs that with the number round(l (n - 1) / (L - 2)). A look-up in a table
    takes no time.
    """

    file: Annotated[str, MinLen(1), Path]
    """Path of the table of counts, from the folder of the scenario, else from the one that NETSIM_DATA names."""
    model: str | None = None
    """Name of the recorded model, as in the column `model`; may be left out if the file has one model only."""
    domains: Annotated[tuple[str, ...], MinLen(1)] | None = None
    """Domains of the texts of users 0, 1, 2 and so on, repeated cyclically. By default all domains together."""

    def check(self, experts: int) -> None:
        for domain in self.domains or (None,):
            recorded = len(self._pairs(domain)[0])
            if recorded != experts:
                raise ValueError(f"layers have {experts} experts, but pairs were recorded of {recorded}")

    def predict(self, ahead: Ahead) -> Process[Tensor]:
        yield from ()
        domain = None if self.domains is None else self.domains[ahead.user.number % len(self.domains)]
        pairs, steps = self._pairs(domain), ahead.layer.count - 2
        given = pairs[round((ahead.layer.number - 1) * (len(pairs) - 1) / steps) if steps else 0]
        likely = given[ahead.chosen.numpy()].mean(axis=1)
        return torch.from_numpy(np.argsort(-likely, axis=-1, kind="stable")[:, : ahead.chosen.shape[-1]])

    def _pairs(self, domain: str | None) -> list[NDArray[np.float64]]:
        return _read(self.file, changed_ns(self.file), self.model, domain)


@lru_cache(MAX_READ)
def _read(file: str, changed_ns: int, model: str | None, domain: str | None) -> list[NDArray[np.float64]]:
    """Of each recorded pair of layers, the probability of an expert of the second given one of the first."""
    table = read(file, ("layer_a", "layer_b", "expert_a", "expert_b", "count"), model, domain)
    layers, a, b, count = (integers(table[name]) for name in ("layer_a", "expert_a", "expert_b", "count"))
    experts = int(max(a.max(), b.max())) + 1
    found = []
    for layer in np.unique(layers):
        counts = np.zeros((experts, experts))
        np.add.at(counts, (a[layers == layer], b[layers == layer]), count[layers == layer])
        found.append(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    return found


PREFETCHES: dict[str, type] = {"next_gate": NextGate, "recorded_pairs": RecordedPairs}
