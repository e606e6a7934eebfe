"""Recorded routing: the experts that a published model chose for the tokens of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.compute as pc
from annotated_types import MinLen

from learning.ports import Streams
from learning.routing.routing import ONLY, Choices, Layer, Routing
from learning.routing.tables import changed_ns, integers, read
from learning.routing.token_counts import TokenCounts

COLUMNS = ("layer", "expert", "count")
"""Columns that a file must have."""
MAX_READ = 64
"""Layers of texts of which a process keeps the counts."""


@dataclass(frozen=True)
class RecordedRouting(Routing):
    """Tokens are drawn as often as they were seen in a text, and their experts as a model chose them there.

    The file is a table (Parquet) with the columns `layer`, `expert` and `count`: how often tokens went to an expert of
    a layer. With the column `token_id` experts are drawn given the token, and all layers draw the same tokens; without
    it, by the experts' total counts. Columns `model`, `domain` (of the text) and `selection` (whose value topk counts
    all experts of a token) are optional. Layers of the scenario's model have the recorded layers at the same relative
    depth: of n recorded ones, layer l of L has number round(l (n - 1) / (L - 1)). The scenario's model must have as
    many experts, and as many for each token, as the recorded one. Counts hold no order of tokens, hence no temporal
    locality; `reuse` adds it.
    """

    file: Annotated[str, MinLen(1), Path]
    """Path of the table of counts, from the folder of the scenario, else from the one that NETSIM_DATA names."""
    model: str | None = None
    """Name of the recorded model, as in the column `model`; may be left out if the file has one model only."""
    domains: Annotated[tuple[str, ...], MinLen(1)] | None = None
    """Domains of the texts of users 0, 1, 2 and so on, repeated cyclically: their interests. By default the texts of
    all domains are those of every user."""

    def check(self, per_token: int, experts: int) -> None:
        super().check(per_token, experts)
        for domain in self.domains or (None,):
            for counts in self._counts(domain, per_token):
                recorded = int(counts.experts.max()) + 1
                if (per_token, experts) != (counts.per_token, recorded):
                    raise ValueError(
                        f"tokens are to go to {per_token} of {experts} experts, but the recorded ones went to "
                        f"{counts.per_token} of {recorded}"
                    )

    def fresh(
        self, streams: Streams, tokens: int, per_token: int, experts: int, *entity: int | str, layer: Layer = ONLY
    ) -> Choices:
        user, *_ = entity
        assert isinstance(user, int)
        domain = None if self.domains is None else self.domains[user % len(self.domains)]
        counts = of_layer(self._counts(domain, per_token), layer)
        drawn = counts.tokens(streams.generator("recorded tokens", *entity), tokens)
        return counts.choices(streams.generator("routing", *entity, layer.number), drawn, experts)

    def _counts(self, domain: str | None, per_token: int) -> tuple[TokenCounts, ...]:
        return _read(self.file, changed_ns(self.file), self.model, domain, per_token)


def of_layer(recorded: Sequence[TokenCounts], layer: Layer) -> TokenCounts:
    """The recorded layer at the relative depth of a layer of another model."""
    last = layer.count - 1
    return recorded[round(layer.number * (len(recorded) - 1) / last) if last else 0]


@lru_cache(MAX_READ)
def _read(file: str, changed_ns: int, model: str | None, domain: str | None, per_token: int) -> tuple[TokenCounts, ...]:
    """Counts of each recorded layer; `per_token` counts where the file does not show how many experts a token has."""
    table = read(file, COLUMNS, model, domain)
    if table.num_rows == 0:
        raise ValueError(f"{file} has no rows whose selection is topk")
    by_token, known = "token_id" in table.column_names, None
    if not by_token:
        first = read(file, COLUMNS, model, domain, "top1") if "selection" in table.column_names else None
        known = pc.sum(table["count"]).as_py() // pc.sum(first["count"]).as_py() if first else per_token
    found = []
    for layer in sorted(pc.unique(table["layer"]).to_pylist()):
        rows = table.filter(pc.equal(table["layer"], layer))
        names = ["expert", "token_id"] if by_token else ["expert"]
        rows = rows.group_by(names).aggregate([("count", "sum")])  # over domains
        experts, counts = integers(rows["expert"]), integers(rows["count_sum"])
        tokens = integers(rows["token_id"]) if by_token else np.zeros_like(experts)
        found.append(TokenCounts.of(tokens, experts, counts, known))
    return tuple(found)
