"""Value of the experts at one server, given what all others cache: a supermodular function, and a sum over layers.

If a token's experts have the times of access t_1 >= t_2 >= ... >= t_K, and the server's own is b for all, then a set S
of experts that the server caches saves

    sum_j max(t_j - max(t_{j+1}, b), 0) [experts 1..j are in S],  t_{K+1} = b:

the latency falls from t_j to the next level only if all slower experts are cached. The saving is thus a sum over
*bundles* of experts, each of which counts if all its experts are in S. Such a function of S is monotone and
supermodular.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from learning.control.placement.potential import potential_s
from learning.control.placement.problem import Booleans, Floats, Integers, Placement, PlacementProblem


class LayerValue(NamedTuple):
    """Value of sets of experts of one layer at one server: their saving, and potentials that decide ties."""

    bundles: Booleans
    """(bundles, experts): the experts of each bundle, all bundles different."""
    saving_s: Floats
    """(bundles,): saving if all experts of a bundle are cached, in s."""
    potential_s: Floats
    """(experts,): potential of each expert (`potential_s`), which decides between sets of equal saving, in s."""
    size_bytes: Integers
    """(experts,): bytes of each expert."""

    def value(self, cached: Booleans) -> float:
        """Saving plus potential of a set `cached` (experts,), in s."""
        whole = ~(self.bundles & ~cached).any(axis=1)
        return float(self.saving_s[whole].sum() + self.potential_s[cached].sum())


def layer_values(
    problem: PlacementProblem, others: Placement, server: int, *, tie_break: bool = True
) -> list[LayerValue]:
    """Value of sets of experts at a server, for each layer.

    Only experts that no other server caches have a potential.

    Args:
        problem: The placement problem.
        others: (servers, layers, experts): what the other servers cache; the entries of `server` do not count.
        server: Number of the server.
        tie_break: Whether experts have potentials (default); without them all potentials are zero.
    """
    fixed = others.copy()
    fixed[server] = False
    access_s = problem.access_s(fixed)
    tie_s = potential_s(problem) * ~fixed.any(axis=0) * tie_break
    return [
        LayerValue(*bundles(problem, access_s, server, layer), tie_s[layer], problem.size_bytes[layer])
        for layer in range(problem.shape[1])
    ]


def bundles(problem: PlacementProblem, access_s: Floats, server: int, layer: int) -> tuple[Booleans, Floats]:
    """Bundles of experts of one layer, with their savings.

    Args:
        problem: The placement problem.
        access_s: (users, layers, experts): times of access without this server, in s.
        server: Number of the server.
        layer: Number of the layer.

    Returns:
        The experts of each bundle (bundles, experts), and its saving (bundles,) in s, which is positive.
    """
    activations, rows, experts = problem.activations, problem.rows[layer], problem.shape[2]
    user, chosen = activations.user[rows], activations.experts[rows]
    times_s = access_s[user[:, None], layer, chosen]
    order = np.argsort(-times_s, axis=1, kind="stable")
    times_s, chosen = np.take_along_axis(times_s, order, axis=1), np.take_along_axis(chosen, order, axis=1)
    own_s = problem.server_s[user, server][:, None]
    levels_s = np.maximum(np.concatenate([times_s, own_s], axis=1), own_s)
    saving_s = activations.probability[rows, None] * (levels_s[:, :-1] - levels_s[:, 1:])
    members = np.zeros((*chosen.shape, experts), dtype=np.bool_)
    for level in range(problem.top_k):
        members[np.arange(len(rows))[:, None], level, chosen[:, : level + 1]] = True
    useful = saving_s > 0
    return merged(members[useful], saving_s[useful])


def merged(members: Booleans, saving_s: Floats) -> tuple[Booleans, Floats]:
    """Bundles without repetition: equal rows of `members` (rows, experts) become one, and their savings (rows,) add."""
    _, first, group = np.unique(np.packbits(members, axis=1), axis=0, return_index=True, return_inverse=True)
    total_s = np.zeros(len(first))
    np.add.at(total_s, group, saving_s)
    return members[first], total_s
