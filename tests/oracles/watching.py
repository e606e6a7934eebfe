"""FedSL-PQ under observation: what each of its operations was given, and what it made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from inspect import signature
from typing import Any

import pytest
import torch
from by_hand import batch
from torch.utils._pytree import tree_leaves

from fakes import FakeWorld, world
from learning import steps, wire
from learning.reducers import CubicRamp, Dropout
from learning.schemes import FedSLPQ
from learning.schemes.fedsl_pq import operators

Call = dict[str, Any]
"""Arguments of an operation by name, and its `result`."""

NOTHING = {"pruning_rate": CubicRamp(), "gradient_bits": 32, "dropout": Dropout()}
"""Arguments of FedSLPQ that switch its three operators off."""


@dataclass
class Watched:
    """A run of FedSL-PQ, operation by operation, in the order of simulated time."""

    ran: FakeWorld
    calls: dict[str, list[Call]] = field(default_factory=dict)

    def updates(self) -> list[list[Call]]:
        """The devices' updates, round by round, in each by user."""
        return self._by_user("update")

    def forwards(self) -> list[list[Call]]:
        """The devices' forward passes, round by round, in each by user."""
        return self._by_user("front")

    def _by_user(self, name: str) -> list[list[Call]]:
        users, calls = self.ran.users, self.calls[name]
        rounds = [calls[first : first + len(users)] for first in range(0, len(calls), len(users))]
        return [
            [next(call for call in some if torch.equal(call["x"], batch(self.ran, user, number)[0])) for user in users]
            for number, some in enumerate(rounds)
        ]


def watch(monkeypatch: pytest.MonkeyPatch, scheme: FedSLPQ, **settings: Any) -> Watched:
    """Run the scheme with the eager executor and note what its operations do with numbers."""
    calls: dict[str, list[Call]] = {}
    inside: list[str] = []
    for module, name in (
        (operators, "pruned"),
        (operators, "front"),
        (wire, "transcode"),
        (operators, "update"),
        (steps, "back_gradients"),
    ):
        calls[name] = []
        monkeypatch.setattr(module, name, noting(getattr(module, name), calls[name], inside))
    return Watched(world(scheme, **settings), calls)


def noting(operation: Callable[..., Any], calls: list[Call], inside: list[str]) -> Callable[..., Any]:
    """The operation, which notes its calls: not those on shapes alone, nor those from within another operation."""

    @wraps(operation)
    def noted(*args: Any) -> Any:
        inside.append(operation.__name__)
        result = operation(*args)
        inside.pop()
        if not inside and not any(isinstance(leaf, torch.Tensor) and leaf.is_meta for leaf in tree_leaves(args)):
            calls.append({**signature(operation).bind(*args).arguments, "result": result})
        return result

    return noted
