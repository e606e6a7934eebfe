"""What the base station knows of the users that are there, and the problem that it makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from learning import steps
from learning.control.rate import Floats, rate_bps
from learning.control.tokens import SOLVERS, TokenProblem, admissible
from learning.data import Rows
from learning.parties import PLAIN, User, label_bits
from learning.reducers import Selected
from learning.usable import usable
from learning.world import World

ALLOCATION_BITS = 3 * 32
"""Tokens, part of the band, power."""


class Report(NamedTuple):
    """A user after its forward pass."""

    x: Rows
    y: Rows
    h: Any
    """Smashed data, all tokens."""
    attention: Any
    """Of the class token, (samples, 1 + patches)."""
    importance: Any
    """Attention of the patches by rank, (patches,), as the station has it."""


def reduced(reducer: Selected, h: Tensor, attention: Tensor, u: Tensor | None) -> Tensor:
    """Fewer tokens."""
    return reducer(h, attention, u)


class Grant(NamedTuple):
    """What a user is told."""

    tokens: int
    share: float
    """Of the band."""
    power_w: float


class Costs(NamedTuple):
    """Sizes that decide how long a round takes; the same for all users."""

    patches: int
    samples: int
    """In a mini-batch."""
    forward_flops: int
    token_bits: float
    """Of a token of all samples."""
    label_bits: int
    """Of the labels of all samples."""

    @classmethod
    def of(cls, world: World, bits_a_label: int) -> Costs:
        """Of the first user's first mini-batch."""
        x, y = world.users[0].batch(0)
        plan = world.executor.plan(steps.scored_front, world.front, world.front.parameters(), x)
        h = plan.profile.outputs[0].tree
        samples, tokens = h.shape[:2]
        bits = world.server.wire.bits(h, PLAIN) / tokens
        return cls(tokens - 1, samples, world.executor.cost(plan).flops, bits, label_bits(y, bits_a_label))


class Cell(NamedTuple):
    """The users' channels, in one band."""

    gain_hz_per_w: Floats
    total_hz: float
    most_power_w: float

    @classmethod
    def of(cls, users: list[User], csi: Literal["present", "mean"], power_part: float | None = None) -> Cell:
        """As they are now, or on average over fading; the weakest sender, or a part of it, bounds everybody's power."""
        channels = [user.node.uplink for user in users]
        name = "gain_over_noise_hz_per_w" if csi == "mean" else "present_gain_over_noise_hz_per_w"
        gain = np.array([getattr(channel, name) for channel in channels])
        most_w = min(channel.max_power_w for channel in channels)
        return cls(gain, channels[0].bandwidth_hz, most_w if power_part is None else most_w * power_part)

    def equal_bps(self) -> Floats:
        """Rates with equal parts of the band, at full power."""
        return rate_bps(self.total_hz / len(self.gain_hz_per_w), self.most_power_w, self.gain_hz_per_w)


def ranked(world: World, costs: Costs, reports: Mapping[User, Report], flat: bool) -> Floats:
    """(users, patches): the importances reported, or flat ones of the same mass where values are not to be read.

    So are those of a user whose report is not usable (`learning.usable`).
    """
    equal = np.full(costs.patches, costs.samples / costs.patches)
    if flat or not world.executor.computes:
        return np.tile(equal, (len(reports), 1))
    values = world.executor.value([report.importance for report in reports.values()])
    return np.stack([value.numpy() if usable(value) else equal for value in values]).astype(float)


def fixed(problem: TokenProblem, tokens: int) -> TokenProblem:
    """The problem in which every user sends just so many patches, or all that there are."""
    count = min(tokens, problem.patches)
    return replace(problem, importance=problem.importance[:, :count], least_tokens=count)


def solved(problem: TokenProblem, users: list[User], solver: str) -> tuple[dict[User, Grant], float]:
    """What each user gets that can be admitted, and the semantic transmission efficiency that is to be expected."""
    admitted = admissible(problem)
    if not len(admitted):
        return {}, 0.0
    among = problem.of(admitted)
    allocation = SOLVERS[solver](among)
    shares = np.minimum(allocation.bandwidth_hz / problem.total_hz, 1.0)
    numbers = zip(allocation.tokens.tolist(), shares.tolist(), allocation.power_w.tolist(), strict=True)
    grants = [Grant(*each) for each in numbers]
    return dict(zip([users[place] for place in admitted], grants, strict=True)), among.efficiency(allocation)
