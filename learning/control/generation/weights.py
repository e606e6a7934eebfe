"""Weight of the model that a server trains on generated samples, in the mean with the users' models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from annotated_types import Interval, MinLen

from learning.control.generation.labels import SharedLabels
from learning.parties import User

Share = Annotated[float, Interval(ge=0, le=1)]


class WeightPolicy(Protocol):
    """A rule for kappa_2 in w = (1 - kappa_2) sum_k rho_k w_k + kappa_2 w_a, where w_a is the server's own model."""

    def candidates(self, labels: SharedLabels, generated: int) -> tuple[float, ...]:
        """Weights kappa_2, each from 0 to 1; of several the server takes the one with the smallest loss on public data.

        Args:
            labels: what users have shared of their labels.
            generated: samples that w_a was trained on.
        """
        ...

    def of_users(self, labels: SharedLabels, users: Sequence[User]) -> tuple[float, ...] | None:
        """Weights of the users' models in their own mean, up to a factor; None leaves them to the scheme's field."""
        ...


class _PlainUsers:
    """Base of policies that leave the weights of the users to the scheme."""

    def of_users(self, labels: SharedLabels, users: Sequence[User]) -> tuple[float, ...] | None:
        return None


@dataclass(frozen=True)
class EmdWeight(_PlainUsers):
    """In proportion to the mean distance of the users' labels: eta EMD / 2, which is 0 for equal distributions."""

    eta: Share = 0.5
    """Weight where no two users share a class and these are many."""

    def candidates(self, labels: SharedLabels, generated: int) -> tuple[float, ...]:
        return (self.eta * labels.mean_emd / 2,)


@dataclass(frozen=True)
class EmdPerClientWeight(EmdWeight):
    """As `emd`, and users with unequal labels count less among users: M_k (1 - EMD_k / 2)."""

    def of_users(self, labels: SharedLabels, users: Sequence[User]) -> tuple[float, ...] | None:
        weights = np.array([user.samples for user in users]) * (1 - labels.emd([user.number for user in users]) / 2)
        return tuple(float(weight) for weight in weights) if weights.sum() > 0 else None


@dataclass(frozen=True)
class FixedWeight(_PlainUsers):
    """A constant; 1 takes the server's model alone, 0 is federated averaging."""

    value: Share = 0.3
    """The weight."""

    def candidates(self, labels: SharedLabels, generated: int) -> tuple[float, ...]:
        return (self.value,)


@dataclass(frozen=True)
class SamplesWeight(_PlainUsers):
    """In proportion to samples: generated ones over generated and known ones together."""

    def candidates(self, labels: SharedLabels, generated: int) -> tuple[float, ...]:
        known = float(labels.total.sum())
        return (generated / (generated + known) if generated else 0.0,)


@dataclass(frozen=True)
class ValidatedWeight(_PlainUsers):
    """The best of a grid on the public samples, which the server evaluates in every round: an upper reference."""

    grid: Annotated[tuple[Share, ...], MinLen(2)] = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
    """The weights that are tried."""

    def candidates(self, labels: SharedLabels, generated: int) -> tuple[float, ...]:
        return self.grid


WEIGHT_POLICIES: dict[str, type] = {
    "emd": EmdWeight,
    "emd_per_client": EmdPerClientWeight,
    "fixed": FixedWeight,
    "samples": SamplesWeight,
    "validated": ValidatedWeight,
}
