"""How users' tokens use experts: joint activations, from the gates of a model or from a routing distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from learning.control.placement.problem import Activations, Floats, Integers
from learning.ports import Streams
from learning.routing import Routing
from learning.routing.routing import Layer

TOKENS = 2000
"""Tokens of each user that are drawn by default from a routing distribution for its statistics."""


def observed(chosen: Mapping[int, Integers]) -> Activations:
    """Activations by the choices of gates, in which all users have equal shares of the tokens.

    Args:
        chosen: For each user by number, the experts of its tokens in each layer: (layers, tokens, K).
    """
    parts = []
    for user, ids in chosen.items():
        layers, tokens, top_k = ids.shape
        layer = np.repeat(np.arange(layers), tokens)
        own = Activations.counted(np.full(layers * tokens, user), layer, ids.reshape(-1, top_k))
        parts.append(own._replace(probability=own.probability / len(chosen)))
    return Activations(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def drawn(
    routing: Routing,
    streams: Streams,
    users: Sequence[int],
    layers: int,
    top_k: int,
    experts: int,
    tokens: int = TOKENS,
) -> Activations:
    """Activations by draws from a routing distribution for each user and layer, where no gate is computed.

    Args:
        routing: The routing distribution.
        streams: The random streams of the run; the draws are named apart from those of requests.
        users: Numbers of the users.
        layers: Number of MoE layers.
        top_k: Number of experts of a token.
        experts: Number of experts of a layer.
        tokens: Number of tokens of each user that are drawn.
    """
    chosen = {
        user: [
            routing.draw(streams, tokens, top_k, experts, user, -1, layer=Layer(layer, layers))
            for layer in range(layers)
        ]
        for user in users
    }
    return observed({user: np.stack(own) for user, own in chosen.items()})


def gate_entropy_bits(marginals: Floats) -> float:
    """Mean entropy in bits of the experts that a user's tokens activate in a layer; log2(experts) if all are as likely.

    Args:
        marginals: (users, layers, experts): probabilities that a token activates an expert, up to a factor of each user
            and layer.
    """
    share = marginals / np.maximum(marginals.sum(axis=2, keepdims=True), 1e-300)
    return float(-(share * np.log2(np.maximum(share, 1e-300))).sum(axis=2).mean())


def co_activation_lift(activations: Activations, marginals: Floats) -> float:
    """Mean of p(a, b) / (p(a) p(b)) over the pairs of experts that users' tokens activate together.

    Probabilities are those of a user's tokens in a layer. Experts that are drawn uniformly have a lift of
    (K - 1) E / (K (E - 1)), a little less than 1, since a token's experts are distinct. NaN for K = 1.

    Args:
        activations: The activations.
        marginals: (users, layers, experts): lambda_u p_u(l, e) of the same activations.
    """
    user, layer, experts, probability = activations
    top_k = experts.shape[1]
    if top_k == 1:
        return float("nan")
    share = marginals.sum(axis=2) / top_k  # of each user in the tokens of a layer
    together: dict[tuple[int, int, int, int], float] = {}
    for u, n, chosen, weight in zip(user.tolist(), layer.tolist(), experts.tolist(), probability.tolist(), strict=True):
        for a, b in combinations(sorted(chosen), 2):
            together[u, n, a, b] = together.get((u, n, a, b), 0.0) + weight
    lifts = [
        joint * joint * share[u, n] / (marginals[u, n, a] * marginals[u, n, b])
        for (u, n, a, b), joint in together.items()
    ]
    return float(sum(lifts) / sum(together.values()))
