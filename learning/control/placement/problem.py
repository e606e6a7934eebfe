"""Placement of the experts of a mixture-of-experts model in the caches of edge servers: expected latency and storage.

A token of user u activates a set A of K experts in every MoE layer l, and waits in that layer for the slowest of them:

    T(X) = sum_u lambda_u sum_l sum_A p_u(l, A) max_{e in A} t_u(l, e; X)
    t_u(l, e; X) = min(device, if u holds e; servers n with X[n, l, e] = 1; cloud)

To be maximised is the saving G(X) = T(0) - T(X), subject to the storage of each server:
sum_{l, e} size(l, e) X[n, l, e] <= storage(n).

With K = 1, G is monotone and submodular. With K >= 2 it is neither submodular (one of two experts that are always
activated together saves nothing, both do) nor supermodular (a second copy of an expert saves nothing).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Placement = NDArray[np.bool_]
"""(servers, layers, experts): True where a server caches an expert."""


class Activations(NamedTuple):
    """Probabilities that users' tokens activate sets of K experts: one row for each user, layer and set that occurs."""

    user: Integers
    """(rows,): number of the user."""
    layer: Integers
    """(rows,): number of the MoE layer."""
    experts: Integers
    """(rows, K): numbers of K distinct experts of the layer."""
    probability: Floats
    """(rows,): lambda_u p_u(l, A), the share of the user in all tokens times the probability of the set. The rows of
    a layer sum to one where every user's tokens pass it, so that latencies are means over all tokens."""

    @classmethod
    def counted(cls, user: Integers, layer: Integers, experts: Integers) -> Activations:
        """Relative frequencies in a recorded trace, such as the choices of a gate.

        Args:
            user: (records,): the user of a token.
            layer: (records,): the layer in which experts were chosen.
            experts: (records, K): the chosen experts, in any order.

        Returns:
            One row for each user, layer and set of the trace; probabilities sum to one in each layer.
        """
        keys = np.column_stack([user, layer, np.sort(experts, axis=1)])
        rows, counts = np.unique(keys, axis=0, return_counts=True)
        tokens = np.bincount(layer)
        return cls(rows[:, 0], rows[:, 1], rows[:, 2:], counts / tokens[rows[:, 1]])


class Load(NamedTuple):
    """What decides how long calls wait in the queues of servers."""

    tokens_per_s: float
    """Tokens of all users together that pass the model in a second."""
    expert_s: Floats
    """(servers,): time in s for which one token occupies a server for one expert."""


@dataclass(frozen=True, eq=False)
class PlacementProblem:
    """Placement of experts on edge servers under their storage.

    Raises:
        ValueError: sizes or storage are negative, or an activation names an expert twice.
    """

    size_bytes: Integers
    """(layers, experts): bytes of the parameters of each expert."""
    storage_bytes: Integers
    """(servers,): bytes that each server has for experts."""
    server_s: Floats
    """(users, servers): time from sending a hidden state to a server until the expert's output is back, in s."""
    cloud_s: Floats
    """(users,): the same time for the cloud, which holds all experts, in s."""
    device_s: Floats
    """(users,): time of an expert on the user's own device, in s."""
    held: Booleans
    """(users, layers, experts): True where the user's device holds the expert."""
    activations: Activations
    """Sets of experts that tokens activate, with their probabilities."""
    names: tuple[str, ...] = ()
    """Names of the servers, for placements by hand (default: they have none)."""
    load: Load | None = None
    """Load of the servers, for placements that take queues into account (default: queues are empty)."""

    def __post_init__(self) -> None:
        if (self.size_bytes < 0).any() or (self.storage_bytes < 0).any():
            raise ValueError("sizes of experts and storage of servers cannot be negative")
        ordered = np.sort(self.activations.experts, axis=1)
        if (ordered[:, 1:] == ordered[:, :-1]).any():
            raise ValueError("a token cannot activate the same expert of a layer twice")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of servers, of layers, and of experts in each layer."""
        return (len(self.storage_bytes), *self.size_bytes.shape)

    @property
    def top_k(self) -> int:
        """Number of experts K that a token activates in each layer."""
        return int(self.activations.experts.shape[1])

    def empty(self) -> Placement:
        """The placement in which no server caches anything: (servers, layers, experts), all False."""
        return np.zeros(self.shape, dtype=np.bool_)

    @cached_property
    def nearest(self) -> Integers:
        """(users,): the server with the shortest time of access."""
        return np.asarray(self.server_s.argmin(axis=1), dtype=np.int64)

    @cached_property
    def rows(self) -> list[Integers]:
        """For each layer, the indices of its rows in `activations`."""
        return [np.flatnonzero(self.activations.layer == layer) for layer in range(self.shape[1])]

    @cached_property
    def uncached_s(self) -> Floats:
        """(users, layers, experts): time of access t_u(l, e; 0) in s if no server caches anything."""
        cloud, device = self.cloud_s[:, None, None], self.device_s[:, None, None]
        return np.where(self.held, np.minimum(cloud, device), cloud)

    def access_s(self, placement: Placement) -> Floats:
        """(users, layers, experts): time t_u(l, e; X) in s until an expert's output is with the user."""
        access = self.uncached_s.copy()
        for server, cached in enumerate(placement):
            np.minimum(access, self.server_s[:, server, None, None], out=access, where=cached)
        return access

    def latency_s(self, placement: Placement) -> float:
        """Expected time T(X) in s that a token waits for experts in all layers together."""
        user, layer, experts, probability = self.activations
        waits = self.access_s(placement)[user[:, None], layer[:, None], experts].max(axis=1)
        return float(probability @ waits)

    def saving_s(self, placement: Placement) -> float:
        """The objective G(X) = T(0) - T(X) in s, which is to be maximised."""
        return self.latency_s(self.empty()) - self.latency_s(placement)

    def used_bytes(self, placement: Placement) -> Integers:
        """(servers,): bytes of the experts that each server caches."""
        return np.asarray((placement * self.size_bytes).sum(axis=(1, 2)), dtype=np.int64)

    def feasible(self, placement: Placement) -> bool:
        """Return whether every server has storage for what it caches."""
        return bool((self.used_bytes(placement) <= self.storage_bytes).all())

    def marginals(self) -> Floats:
        """(users, layers, experts): lambda_u p_u(l, e), the probability that a token activates an expert."""
        user, layer, experts, probability = self.activations
        marginal = np.zeros((len(self.cloud_s), *self.size_bytes.shape))
        np.add.at(marginal, (user[:, None], layer[:, None], experts), probability[:, None])
        return marginal
