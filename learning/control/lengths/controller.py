"""The controller of each user's tokens, share of the band and power, for the requests of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Interval

from learning.control.lengths.costs import DeviceCost
from learning.control.lengths.losses import LossModel
from learning.control.lengths.problem import LengthAllocation, LengthProblem, ServerTime
from learning.control.lengths.solvers import SOLVERS, check_combinations, random_allocation
from learning.control.observation import Csi, Observation
from learning.control.rate import Floats


class LengthGrant(NamedTuple):
    """What is granted to a user for its requests."""

    tokens: int
    """Tokens that it sends of a sample."""
    share: float
    """Share of the uplink band, 0 to 1."""
    power_w: float
    """Transmit power in W."""


@dataclass(frozen=True)
class LengthController:
    """Choice of tokens, bandwidths and powers that minimises a weighted sum of latency and validation loss.

    Both count relative to those of all tokens over equal shares of the band and of the power budget, in channels
    without fading: that is a weighted sum of one.
    """

    solver: Literal[
        "coupled", "published", "brute", "equal", "bandwidth_only", "power_only", "length_only", "random"
    ] = "coupled"
    """Blocks that choose lengths together with bandwidths or powers (`coupled`); the published alternation of three
    blocks; exhaustive search, for few users and tokens (`brute`); or for comparison equal shares and half of the tokens
    (`equal`), of which the bandwidths, powers or lengths alone are chosen, or a random choice."""
    latency: Literal["max", "sum"] = "max"
    """Latency of the uploads: that of the latest one, as a model that reads all tokens at once needs, or their sum."""
    latency_weight: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Weight of the latency; the validation loss has the rest."""
    server_time: bool = True
    """Whether the latency includes the time of the base station's passes, which rises with the tokens."""
    power_budget_w: Annotated[float, Gt(0)] | None = None
    """Upper bound on the sum of all users' powers, each of which has its own maximum, too (default: none)."""
    token_share: Annotated[float, Interval(gt=0, le=1)] | None = None
    """Fraction of its tokens that every user sends (default: the solver decides)."""
    min_tokens: Annotated[int, Ge(1)] = 1
    """Lower bound on the tokens of a user; all of a shorter sequence."""
    csi: Csi = "instantaneous"
    """Channel state information of the solver: gains at the instant of the decision, or on average over fading."""

    def check(self, tokens: Sequence[int]) -> None:
        """Raises ValueError where brute force has too many combinations for users with so many tokens."""
        if self.solver == "brute" and self.token_share is None:
            check_combinations(int(np.prod([max(count - self.min_tokens + 1, 1) for count in tokens])))

    def problem(
        self,
        users: Sequence[Observation],
        average_gain_hz_per_w: Floats,
        costs: Sequence[DeviceCost],
        server: ServerTime,
        losses: LossModel,
    ) -> LengthProblem:
        """The problem of a decision.

        Args:
            users: observations of the users that report.
            average_gain_hz_per_w: (users,): power gains over the noise power density, on average over fading.
            costs: cost of a request to each of them, at each length.
            server: time of the base station's passes.
            losses: the validation loss over lengths.
        """
        columns = max(len(cost.bits) for cost in costs)
        parts = [losses.parts[user.user.number] for user in users]
        budget = np.inf if self.power_budget_w is None else self.power_budget_w
        problem = LengthProblem(
            bits=_table([cost.bits for cost in costs], columns),
            device_s=_table([cost.seconds(user.flops_per_s) for user, cost in zip(users, costs, strict=True)], columns),
            loss=_table([self._allowed(part) for part in parts], columns, np.inf),
            gain_hz_per_w=np.array([user.uplink.gain_hz_per_w for user in users]),
            max_power_w=np.array([user.uplink.max_power_w for user in users]),
            total_hz=users[0].uplink.bandwidth_hz,
            server=server if self.server_time else ServerTime(server.team),
            total_power_w=budget,
            common_loss=losses.full,
            latency=self.latency,
            latency_weight=self.latency_weight,
        )
        problem = in_units_of(problem, average_gain_hz_per_w)
        if self.token_share is None:
            return problem
        return problem.with_lengths(np.maximum(np.round(self.token_share * problem.longest), 1).astype(np.int64))

    def solve(self, problem: LengthProblem, draw: np.random.Generator) -> LengthAllocation:
        """Solve a problem; `draw` makes the random choice, where it is random."""
        return random_allocation(problem, draw) if self.solver == "random" else SOLVERS[self.solver](problem)

    def _allowed(self, part: Floats) -> Floats:
        """Losses at each length from 0, infinite where it is below `min_tokens`."""
        fewest = min(self.min_tokens, len(part))
        return np.concatenate([np.full(fewest, np.inf), part[fewest - 1 :]])


def in_units_of(problem: LengthProblem, average_gain_hz_per_w: Floats) -> LengthProblem:
    """The problem in units of latency and loss of all tokens over equal shares, in these average channels."""
    plain = replace(problem, gain_hz_per_w=average_gain_hz_per_w)
    everything = plain.equal(plain.longest)
    return replace(
        problem,
        latency_unit_s=plain.latency_s(everything),
        loss_unit=float(plain.validation_loss(everything.lengths)),
    )


def grants(problem: LengthProblem, allocation: LengthAllocation) -> list[LengthGrant]:
    """The grants of an allocation, one for each user of the problem, in its order."""
    shares = np.minimum(allocation.bandwidth_hz / problem.total_hz, 1.0)
    columns = allocation.lengths.tolist(), shares.tolist(), allocation.power_w.tolist()
    return [LengthGrant(*each) for each in zip(*columns, strict=True)]


def _table(rows: Sequence[Floats], columns: int, filled: float = 0.0) -> Floats:
    """Rows of different lengths as one table."""
    return np.array([np.pad(row, (0, columns - len(row)), constant_values=filled) for row in rows])
