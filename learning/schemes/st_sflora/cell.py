"""What the base station knows of the users that are there, and the problem that it makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from learning import steps
from learning.control.rate import Floats, rate_bps
from learning.control.tokens import SOLVERS, TokenProblem, admissible
from learning.data import Inputs, Rows
from learning.parties import PLAIN, User, label_bits
from learning.reducers import Selected
from learning.schemes.tsflora import require_tokens
from learning.usable import usable
from learning.world import World

ALLOCATION_BITS = 3 * 32
"""Tokens, part of the band, power."""


class Report(NamedTuple):
    """A user after its forward pass."""

    x: Inputs
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


class MiniBatch(NamedTuple):
    """Sizes that decide how long a user's part of a round takes."""

    samples: int
    forward_flops: int
    token_bits: float
    """Of a token of all samples."""
    label_bits: int
    """Of the labels of all samples."""

    def min_s(self, user: User, tokens: int, rate_bps: float) -> float:
        """Forward pass at nominal speed, then the upload of so many tokens."""
        bits = self.token_bits * tokens + self.label_bits
        return self.forward_flops / user.node.flops_per_s + bits / rate_bps


@dataclass
class Costs:
    """What users' mini-batches cost, by shapes; equally large ones cost the same."""

    world: World
    bits_a_label: int
    _known: dict[int, MiniBatch] = field(default_factory=dict, init=False)

    @cached_property
    def patches(self) -> int:
        """Patch tokens of a sample."""
        return require_tokens(self.world)

    def of(self, user: User, number: int) -> MiniBatch:
        """The user's mini-batch of a round."""
        (samples,) = user.batches.sizes(range(number, number + 1))
        if samples not in self._known:
            world, (x, y) = self.world, user.batches.run(range(samples))
            plan = world.executor.plan(steps.scored_front, world.front, world.front.parameters(), x)
            h = plan.profile.outputs[0].tree
            bits, flops = world.server.wire.bits(h, PLAIN) / h.shape[1], world.executor.cost(plan).flops
            self._known[samples] = MiniBatch(samples, flops, bits, label_bits(y, self.bits_a_label))
        return self._known[samples]


class Cell(NamedTuple):
    """The users' channels, in one band."""

    gain_hz_per_w: Floats
    total_hz: float
    max_power_w: float

    @classmethod
    def of(cls, users: list[User], csi: Literal["instantaneous", "average"], power_part: float | None = None) -> Cell:
        """As they are now, or on average over fading; the weakest sender, or a part of it, bounds everybody's power."""
        channels = [user.node.uplink for user in users]
        name = "gain_over_noise_hz_per_w" if csi == "average" else "instantaneous_gain_over_noise_hz_per_w"
        gain = np.array([getattr(channel, name) for channel in channels])
        max_w = min(channel.max_power_w for channel in channels)
        return cls(gain, channels[0].bandwidth_hz, max_w if power_part is None else max_w * power_part)

    def equal_bps(self) -> Floats:
        """Rates with equal parts of the band, at full power."""
        return rate_bps(self.total_hz / len(self.gain_hz_per_w), self.max_power_w, self.gain_hz_per_w)


def ranked(world: World, patches: int, reports: Mapping[User, Report], flat: bool) -> Floats:
    """(users, patches): the importances reported, or flat ones of the same mass where values are not to be read.

    So are those of a user whose report is not usable (`learning.usable`).
    """
    samples = np.array([len(report.y.indices) for report in reports.values()])
    equal = np.repeat(samples[:, None] / patches, patches, axis=1)
    if flat or not world.executor.computes:
        return equal
    values = world.executor.value([report.importance for report in reports.values()])
    rows = [value.numpy() if usable(value) else alike for value, alike in zip(values, equal, strict=True)]
    return np.stack(rows).astype(float)


def fixed(problem: TokenProblem, tokens: int) -> TokenProblem:
    """The problem in which every user sends just so many patches, or all that there are."""
    count = min(tokens, problem.patches)
    return replace(problem, importance=problem.importance[:, :count], min_tokens=count)


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
