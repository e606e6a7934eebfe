"""The loss model: validation loss by the lengths of all users' sequences, as the controller takes it to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, MinLen

from learning.control.lengths.curves import Interpolated, LossCurve, MeasuredCurve, PowerLaw, rise_error
from learning.control.lengths.problem import Counts
from learning.control.rate import Floats
from learning.control.usable import usable


class LossModel(NamedTuple):
    """The validation loss over the lengths of users' sequences: a constant, and a part for each user."""

    full: float
    """Loss where all users send all their tokens."""
    parts: Mapping[int, Floats]
    """Further loss at each length from 1 to that of the whole sequence, where it is 0, by number of the user."""


class TeamLosses(NamedTuple):
    """Validation losses of one team, as they were measured."""

    curves: Mapping[int, MeasuredCurve]
    """Losses over the length of each user, by its number."""
    shortest: float
    """Loss where all users of the team have the shortest of the lengths that were measured."""

    @property
    def full(self) -> float:
        """Loss where all users send all their tokens."""
        return float(next(iter(self.curves.values())).losses[-1])

    @property
    def coupling(self) -> float:
        """How much the loss at the shortest lengths exceeds what the sum of the users' own rises would give."""
        return self.shortest - self.full - float(sum(curve.rise[0] for curve in self.curves.values()))

    @property
    def usable(self) -> bool:
        """Whether all losses are numbers to decide by; those of a diverged training are not."""
        return usable(self.shortest, *(curve.losses for curve in self.curves.values()))


@dataclass(frozen=True)
class LossRule:
    """How the loss model comes about: measured on public samples after training and fitted; or assumed."""

    curve: Literal["power_law", "isotonic", "assumed"] = "power_law"
    """What is fitted to measured losses: a power law of the length for each user, or the nearest falling sequence,
    linear in between. `assumed` measures nothing."""
    lengths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 2, 4, 8, 16)
    """Lengths at which the loss is measured, beside that of the whole sequence; longer ones are left out."""
    assumed: PowerLaw = PowerLaw()
    """Power law of each user where nothing is measured, as in a dry run."""

    @property
    def measures(self) -> bool:
        """Whether losses are measured, so that decisions depend on values."""
        return self.curve != "assumed"

    def tried(self, tokens: int) -> Counts:
        """Lengths at which the loss of a user with so many tokens is measured, ascending."""
        return np.array([*sorted({length for length in self.lengths if length < tokens}), tokens])

    def fitted(self, measured: MeasuredCurve) -> LossCurve:
        """The curve that is fitted to measured losses."""
        return PowerLaw.fitted(measured) if self.curve == "power_law" else Interpolated.fitted(measured)

    def model(self, teams: Mapping[int, Mapping[int, int]], measured: Mapping[int, TeamLosses]) -> LossModel:
        """The loss model, a mean over teams.

        Args:
            teams: by team, the number of tokens of each user by its number.
            measured: losses of teams that could be measured; of others the assumed law is taken.
        """
        full, parts = 0.0, {}
        for team, members in teams.items():
            known = measured.get(team)
            fit = {user: self.fitted(known.curves[user]) if known else self.assumed for user in members}
            at_end = sum(float(self.assumed.at(np.array(tokens))) for tokens in members.values())
            full += (known.full if known else at_end) / len(teams)
            for user, tokens in members.items():
                losses = fit[user].at(np.arange(1, tokens + 1))
                parts[user] = (losses - losses[-1]) / len(teams)
        return LossModel(full, parts)

    def figures(self, measured: MeasuredCurve) -> dict[str, float]:
        """Measured and fitted losses by name, and the root mean square of their differences."""
        fit = self.fitted(measured)
        shift = measured.losses[-1] - fit.at(measured.lengths[-1:])[0]
        lengths, fitted = measured.lengths.tolist(), (fit.at(measured.lengths) + shift).tolist()
        found = {f"loss_at_{length}": loss for length, loss in zip(lengths, measured.losses.tolist(), strict=True)}
        near = {f"fitted_loss_at_{length}": loss for length, loss in zip(lengths, fitted, strict=True)}
        return {**found, **near, "fit_error": rise_error(fit, measured)}
