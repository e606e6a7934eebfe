"""Prediction of what requests cost at each length, from shapes alone: by the operations and wire that are charged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from learning.adapters import Bound
from learning.codecs import Codec
from learning.control.lengths.problem import Counts, ServerTime
from learning.control.observation import Observation, Shapes
from learning.control.prediction import trainable_shapes
from learning.control.rate import Floats
from learning.data import Modalities
from learning.executor.base import OperationPlan
from learning.models import Towers
from learning.protocols.token_stages import operators
from learning.world import World

Cut = Callable[[str, int], Towers]
"""(modality, tokens) -> the tower of the modality that sends so many tokens."""


class DeviceCost(NamedTuple):
    """What a user's part of a request costs, by the number of tokens that it sends, from 0."""

    bits: Floats
    """(lengths,): bits of the upload; those of no tokens are not counted, and zero."""
    flops: Floats
    """(lengths,): FLOPs on the device."""

    def seconds(self, flops_per_s: float) -> Floats:
        """(lengths,): time on a device of this speed."""
        return np.asarray(self.flops / flops_per_s)


class LengthCosts:
    """Predicts costs of requests; those of equal shapes are counted once.

    Args:
        world: the world, for its executor and its wire.
        tower: the tower of a modality that sends a number of tokens.
        wire: codec of the tokens.
        fusion: the base station's part of the model.
    """

    def __init__(self, world: World, tower: Cut, wire: Codec, fusion: Bound) -> None:
        self.world, self.tower, self.wire, self.fusion = world, tower, wire, fusion
        self._known: dict[tuple[Shapes, str, int, int], tuple[float, float]] = {}

    def device(self, user: Observation, modality: str, tokens: int, samples: int) -> DeviceCost:
        """Cost of a user's part of a request about `samples` samples, with up to `tokens` tokens of a modality."""
        key = user.sample_shapes, modality, samples
        for length in range(1, tokens + 1):
            if (*key, length) not in self._known:
                self._known[*key, length] = self._counted(user, modality, length, samples)
        costs = [(0.0, 0.0), *(self._known[*key, length] for length in range(1, tokens + 1))]
        return DeviceCost(*np.array(costs).T)

    def _counted(self, user: Observation, modality: str, length: int, samples: int) -> tuple[float, float]:
        """Bits and FLOPs."""
        forward = self._forward(user, modality, length, samples)
        bits = self.world.server.wire.bits(forward.profile.outputs[0].tree, self.wire)
        return float(bits), float(self.world.executor.cost(forward).flops)

    def server(self, users: Sequence[Observation], held: Mapping[int, tuple[str, int]], samples: int) -> ServerTime:
        """Time of the base station's passes for requests of these users' teams, one pass after the other.

        FLOPs are linear in each user's tokens, and quadratic in those of a team. The coefficients follow from shapes at
        lengths of one to three tokens.

        Args:
            users: the users.
            held: modality that a user sends, and the number of its tokens, by the user's number.
            samples: samples of a request.
        """
        teams = list(dict.fromkeys(user.user.team for user in users))
        fixed, token, square = 0.0, np.zeros(len(users)), np.zeros(len(teams))
        for place, team in enumerate(teams):
            members = [number for number, user in enumerate(users) if user.user.team == team]
            own = [users[number] for number in members]
            constant, linear, square[place] = self._polynomial(own, held, samples)
            fixed, token[members] = fixed + constant, linear
        speed = self.world.server.node.flops_per_s
        places = np.array([teams.index(user.user.team) for user in users])
        return ServerTime(places, fixed / speed, token / speed, square / speed)

    def _polynomial(
        self, users: Sequence[Observation], held: Mapping[int, tuple[str, int]], samples: int
    ) -> tuple[float, Floats, float]:
        """FLOPs for one team: those that do not depend on lengths, for each token of a user, and for each square."""
        of_each = [held[user.user.number] for user in users]
        longest = int(np.argmax([tokens for _, tokens in of_each]))
        x, y = users[0].mini_batch(samples)
        assert isinstance(x, Modalities)
        runs, weights = self.world.executor, trainable_shapes(self.world, self.fusion)

        def flops(more: Counts) -> float:
            """FLOPs of a pass with one token of each user, and so many more."""
            sent = [
                self._forward(user, modality, min(1 + int(n), tokens), samples).profile.outputs[0].tree
                for user, (modality, tokens), n in zip(users, of_each, more, strict=True)
            ]
            return runs.cost(runs.plan(operators.answers, self.fusion, weights, sent, x.present, y)).flops

        none, steps = np.zeros(len(users), dtype=np.int64), np.eye(len(users), dtype=np.int64)
        base, single = flops(none), np.array([flops(step) for step in steps])
        short = of_each[longest][1] < 3  # then no square can be told from what is linear, and lengths hardly differ
        square = 0.0 if short else (flops(2 * steps[longest]) - 2 * float(single[longest]) + base) / 2
        token = np.asarray(single - base - square * (2 * len(users) + 1))
        return base - float(token.sum()) - square * len(users) ** 2, token, square

    def _forward(self, user: Observation, modality: str, length: int, samples: int) -> OperationPlan:
        """The forward pass of a user's part of a request."""
        towers, (x, _) = self.tower(modality, length), user.mini_batch(samples)
        return self.world.executor.plan(operators.tokens, towers, trainable_shapes(self.world, towers), x)
