"""Which experts the gates of a model choose for tokens: alone, and how often each set of experts is chosen together.

Placements of experts need joint counts: where a token needs two experts, it matters whether one site has both.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learning.adapters import Bound
from learning.models import Segment
from learning.steps import Parameters

Subset = tuple[int, ...]
"""Numbers of the experts that compute one token in one layer, ascending."""


def routing(segment: Segment | Bound, parameters: Parameters, x: Any) -> tuple[Tensor, Tensor]:
    """Operation: what the gates make of the tokens of samples or activations `x`, layer by layer.

    Returns probabilities (layers, batch, tokens, experts) and the numbers of the chosen experts, the best first,
    (layers, batch, tokens, top_k), int64; layers without experts are left out. Raises ValueError if all are.
    """
    return segment.routed(parameters, x)


def mean_probability(probabilities: Tensor) -> Tensor:
    """Mean of the gates' probabilities over all tokens: (layers, ..., experts) to (layers, experts)."""
    return probabilities.flatten(1, -2).mean(1)


def max_probability(probabilities: Tensor) -> Tensor:
    """Maximum of the gates' probabilities over all tokens: (layers, ..., experts) to (layers, experts)."""
    return probabilities.flatten(1, -2).amax(1)


def chosen_tokens(ids: Tensor, experts: int) -> Tensor:
    """Number of tokens that chose each expert, (layers, experts), int64; part of an operation.

    Args:
        ids: numbers of the chosen experts, (layers, ..., top_k).
        experts: number of experts of a layer.
    """
    pairs = ids.flatten(1)[..., None] == torch.arange(experts, device=ids.device)  # (layers, pairs, experts)
    return pairs.sum(1)


def subset_counts(ids: Tensor) -> list[Counter[Subset]]:
    """For each layer, the number of tokens of each set of experts; counts of several batches can be added.

    `ids` are the numbers of the chosen experts, (layers, ..., top_k), integers that have been read.
    """
    return [_counted(layer.reshape(-1, ids.shape[-1]).numpy()) for layer in ids]


def expert_counts(subsets: Counter[Subset], experts: int) -> NDArray[np.int64]:
    """Number of tokens of each of the `experts` experts of a layer, (experts,), from the counts of its sets."""
    counts = np.zeros(experts, dtype=np.int64)
    for subset, tokens in subsets.items():
        counts[list(subset)] += tokens
    return counts


def _counted(chosen: NDArray[np.int64]) -> Counter[Subset]:
    """Rows of expert numbers, in any order within a row, by set."""
    sets, tokens = np.unique(np.sort(chosen, axis=-1), axis=0, return_counts=True)
    return Counter({tuple(each): count for each, count in zip(sets.tolist(), tokens.tolist(), strict=True)})
