"""The controller of admission to a round, and of each user's tokens, share of the band and power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Interval

from learning.control.observation import Csi, observe_channel
from learning.control.rate import Floats, rate_bps
from learning.control.tokens.dwell import DwellTime
from learning.control.tokens.problem import TokenProblem, admissible
from learning.control.tokens.solvers import MAX_COMBINATIONS, SOLVERS
from learning.control.tokens.upload import UploadCost
from learning.parties import User
from learning.ports import Streams


class TokenGrant(NamedTuple):
    """What is granted to a user for a round."""

    tokens: int
    """Number of patch tokens that it sends."""
    share: float
    """Share of the uplink band, 0 to 1."""
    power_w: float
    """Transmit power in W."""


class UplinkBand(NamedTuple):
    """The uplink band of a problem's users, as the controller models it: all have the weakest sender's power limit."""

    gain_hz_per_w: Floats
    """(users,): power gain over the noise power density."""
    total_hz: float
    """Bandwidth that all users share."""
    max_power_w: float
    """Upper bound on every user's transmit power."""

    def equal_bps(self) -> Floats:
        """(users,): rates in bit/s over equal shares of the band at the maximum power."""
        return rate_bps(self.total_hz / len(self.gain_hz_per_w), self.max_power_w, self.gain_hz_per_w)


@dataclass(frozen=True)
class TokenController:
    """Choice of tokens, bandwidth and power that maximises attention mass delivered per second [ST-SFLora, Eq. 20]."""

    solver: Literal["published", "improved", "brute"] = "published"
    """The paper's alternating optimisation (`published`), a search over the latency (`improved`), or exhaustive search,
    for few users and patches (`brute`)."""
    tokens: Annotated[int, Ge(1)] | None = None
    """Patch tokens that every user sends; where there are no more than these, all (default: the solver decides)."""
    min_tokens: Annotated[int, Ge(1)] = 4
    """Lower bound on the patch tokens of a user, where the solver decides."""
    attention: Literal["reported", "flat"] = "reported"
    """Importance of the patches for the solver: as users report it; or equal (`flat`). With reports, decisions depend
    on values; a dry run, which has none, takes equal importance."""
    max_energy_j: Annotated[float, Gt(0)] = 0.8
    """Upper bound on the energy that a user radiates for an upload."""
    fixed_power: Annotated[float, Interval(gt=0, le=1)] | None = None
    """Fraction of the maximum power at which every user sends (default: the solver chooses powers)."""
    bandwidth: Literal["chosen", "equal"] = "chosen"
    """Whether the solver divides the band, or all users that send have equal shares."""
    csi: Csi = "instantaneous"
    """Channel state information of the solver: gains at the instant of the decision, or on average over fading."""
    dwell_time: DwellTime | None = None
    """How long users stay in the cell; a user that cannot finish in that time is not admitted (default: unlimited)."""

    def check(self, users: int, patches: int) -> None:
        """Raises ValueError where `min_tokens` exceeds the patches, or brute force has too many combinations."""
        if self.tokens is not None:
            return
        if self.min_tokens > patches:
            raise ValueError(f"min_tokens is {self.min_tokens}, but there are {patches} patches")
        choices = patches - self.min_tokens + 1
        if self.solver == "brute" and choices**users > MAX_COMBINATIONS:
            raise ValueError(
                f"{users} users with {choices} choices each are more than "
                f"{MAX_COMBINATIONS} combinations; take another solver"
            )

    def dwell_s(self, user: User, number: int, streams: Streams) -> float:
        """Dwell time in seconds of a user from the beginning of round `number`; infinite where it is unlimited."""
        return inf if self.dwell_time is None else self.dwell_time.seconds(user.number, number, streams)

    def admitted(
        self, dwell_s: Mapping[User, float], costs: Mapping[User, UploadCost], extra_tokens: int
    ) -> list[User]:
        """Users whose dwell time suffices for the forward pass and the smallest upload [Eq. 9].

        Devices are assumed to compute at nominal speed, and uploads to have equal shares of the band.

        Args:
            dwell_s: dwell time of each candidate.
            costs: cost of its upload.
            extra_tokens: tokens that are sent beside the patch tokens.
        """
        if self.dwell_time is None:
            return list(dwell_s)
        admitted = []
        for user, equal_bps in zip(dwell_s, self.band(list(dwell_s)).equal_bps(), strict=True):
            cost = costs[user]
            fewest = self.min_tokens if self.tokens is None else min(self.tokens, cost.patches)
            bits = cost.token_bits * (fewest + extra_tokens) + cost.label_bits
            if cost.forward_flops / user.node.flops_per_s + bits / equal_bps <= dwell_s[user]:
                admitted.append(user)
        return admitted

    def band(self, users: Sequence[User]) -> UplinkBand:
        """The uplink of these users at this instant."""
        channels = [observe_channel(user.node.uplink, self.csi) for user in users]
        max_w = min(channel.max_power_w for channel in channels)
        return UplinkBand(
            gain_hz_per_w=np.array([channel.gain_hz_per_w for channel in channels]),
            total_hz=channels[0].bandwidth_hz,
            max_power_w=max_w if self.fixed_power is None else max_w * self.fixed_power,
        )

    def problem(
        self, importance: Floats, costs: Mapping[User, UploadCost], left_s: Mapping[User, float], extra_tokens: int
    ) -> TokenProblem:
        """The problem of a round.

        Args:
            importance: (users, patches): importance of the patches by rank, in the order of `left_s`.
            costs: cost of each user's upload.
            left_s: seconds that are left for it; its users are those of the problem.
            extra_tokens: tokens that are sent beside the patch tokens.
        """
        users = list(left_s)
        band = self.band(users)
        problem = TokenProblem(
            importance=importance,
            gain_hz_per_w=band.gain_hz_per_w,
            time_left_s=np.array(list(left_s.values())),
            token_bits=np.array([costs[user].token_bits for user in users]),
            total_hz=band.total_hz,
            max_power_w=band.max_power_w,
            max_energy_j=self.max_energy_j,
            min_tokens=self.min_tokens,
            extra_tokens=extra_tokens,
            overhead_bits=np.array([float(costs[user].label_bits) for user in users]),
            optimise_power=self.fixed_power is None,
            optimise_bandwidth=self.bandwidth == "chosen",
        )
        return problem if self.tokens is None else with_tokens(problem, self.tokens)

    def grants(self, problem: TokenProblem, users: Sequence[User]) -> tuple[dict[User, TokenGrant], float]:
        """Solve the problem of a round.

        Args:
            problem: the problem.
            users: its users, in its order.

        Returns:
            The grant of each admissible user, and the predicted semantic transmission efficiency, which is attention
            mass delivered per second [Eq. 20]; 0 where no user is admissible.
        """
        places = admissible(problem)
        if not len(places):
            return {}, 0.0
        among = problem.of(places)
        allocation = SOLVERS[self.solver](among)
        shares = np.minimum(allocation.bandwidth_hz / problem.total_hz, 1.0)
        numbers = zip(allocation.tokens.tolist(), shares.tolist(), allocation.power_w.tolist(), strict=True)
        grants = {users[place]: TokenGrant(*each) for place, each in zip(places, numbers, strict=True)}
        return grants, among.efficiency(allocation)


def with_tokens(problem: TokenProblem, tokens: int) -> TokenProblem:
    """The problem in which every user sends exactly `tokens` patch tokens, or all if there are fewer."""
    count = min(tokens, problem.patches)
    return replace(problem, importance=problem.importance[:, :count], min_tokens=count)
