"""Blocks of one model at a server that users share, each user those between its own two cuts.

A block is trained by the users whose cuts enclose it. Blocks that the same users train form a run, with one state of
the optimiser, so that users with equal cuts share one run.

Where a user computes the last blocks itself (U shape), a step is two jobs of the server: forward pass, and backward
pass when the gradient of its output arrives. In between the server keeps the activations, which the jobs of others find
in its memory (`memory_bytes`), and other users may change the blocks: by how many updates is the `version_lag` of the
backward pass, in the table `decisions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from learning import steps
from learning.adapters import Part
from learning.aggregators import mixed
from learning.data import Rows
from learning.executor.deferred import specification
from learning.parties import User
from learning.ports import Process
from learning.protocols.split import Smashed
from learning.steps import Parameters, State, Weights
from learning.world import World

Mode = Literal["sequential", "joint"]
Stale = Literal["stash", "latest"]
ServerWeighting = Literal["none", "inverse_rate"]


@dataclass
class Run:
    """Consecutive blocks that the same users train."""

    start: int
    """Number of its first block."""
    stop: int
    """Number of the block behind its last one."""
    weights: Weights
    """Weights of its blocks."""
    state: State
    """State of their optimiser."""
    version: int = 0
    """Updates of its weights so far."""


class ForwardPass(NamedTuple):
    """A forward pass at the server whose backward pass is still to come."""

    weights: Weights
    """Weights of the user's blocks at the server, as they were."""
    z: Smashed
    """Input of these blocks."""
    versions: list[int]
    """Versions of the runs of which they consist."""


class SharedBlocks:
    """The server's blocks, and what it keeps of mini-batches whose backward pass is still to come.

    Args:
        world: the world, with the server's optimiser.
        spans: numbers of the first block at the server and of the first block behind, for each user; where they are
            equal, the user has nothing at the server.
        mode: whether each mini-batch changes the blocks (`sequential`), or `step` does, on the mean of the gradients of
            all mini-batches of a round (`joint`).
        stale: weights of a backward pass: those of its forward pass (`stash`), or the latest, with which the forward
            pass is repeated (`latest`; this is not charged).
        weighting: whether all steps have the same size (`none`), or each user's are scaled by the mean number of steps
            of all users over its own (`inverse_rate`), so that fast users do not dominate.
    """

    def __init__(
        self,
        world: World,
        spans: Mapping[User, tuple[int, int]],
        mode: Mode = "sequential",
        stale: Stale = "stash",
        weighting: ServerWeighting = "none",
    ) -> None:
        self.world, self.mode, self.stale, self.weighting = world, mode, stale, weighting
        ends = sorted({end for span in spans.values() for end in span})
        shared = [
            run for run in pairwise(ends) if any(start <= run[0] and run[1] <= stop for start, stop in spans.values())
        ]
        self.runs = [self._initial(*run) for run in shared]
        self.own = {
            user: [run for run in self.runs if start <= run.start and run.stop <= stop]
            for user, (start, stop) in spans.items()
        }
        """The runs between each user's cuts."""
        self.parts = {user: between(world.chain, *span) for user, span in spans.items() if self.own[user]}
        """The parts of the model between the cuts of users that have any at the server."""
        self._passes: dict[User, ForwardPass] = {}
        self._gradients: dict[User, list[Weights]] = {}
        self._steps = dict.fromkeys(spans, 1)

    def weights(self, user: User) -> Weights:
        """Present weights of the blocks between a user's cuts."""
        return self._merged(self.own[user])

    def copies(self, blocks: Sequence[int]) -> Weights:
        """Present weights of the blocks with these numbers that are at the server."""
        whole = self._merged(self.runs) if self.runs else {}
        names = tuple(name for name in specification(whole).tree if steps.block(name) in blocks)
        return self.world.executor.submit(steps.named, whole, names) if names else {}

    def forward(self, user: User, z: Smashed) -> Process[Smashed]:
        """Forward pass between a user's cuts, on the weights as they are when the server has finished it."""
        part = self.parts[user]
        user.server.keep(user, self._activations(user, z))
        yield from user.server.spend(steps.front, part, self.weights(user), z, kind="server_forward", user=user)
        weights = self.weights(user)
        self._passes[user] = ForwardPass(weights, z, [run.version for run in self.own[user]])
        out: Smashed = self.world.executor.submit(steps.front, part, weights, z)
        return out

    def predict(self, user: User, z: Smashed) -> Process[Smashed]:
        """Forward pass between a user's cuts that no backward pass follows."""
        work = (steps.front, self.parts[user], self.weights(user), z)
        out: Smashed = yield from user.server.do(*work, kind="server_forward", user=user)
        return out

    def backward(self, user: User, dz: Smashed) -> Process[Smashed]:
        """Backward pass of the user's latest forward pass, and a step; returns the gradient of its input."""
        passed, work = self._passes[user], (steps.middle_gradients, self.parts[user])
        yield from user.server.spend(*work, passed.weights, passed.z, dz, kind="server_backward", user=user)
        weights = passed.weights if self.stale == "stash" else self.weights(user)
        gradients, dx = self.world.executor.submit(*work, weights, passed.z, dz)
        lag = max(run.version - before for run, before in zip(self.own[user], passed.versions, strict=True))
        self.world.journal.decision(user.number, "version_lag", lag)
        self._learn(user, gradients)
        return dx

    def serve(self, user: User, z: Smashed, y: Rows) -> Process[Smashed]:
        """The server's side of an exchange whose labels are at the server: both passes as one job, and a step."""
        work = (steps.back_gradients, self.parts[user])
        yield from user.server.spend(*work, self.weights(user), z, y, kind="server_step", user=user)
        gradients, dz, _ = self.world.executor.submit(*work, self.weights(user), z, y)
        self._learn(user, gradients)
        return dz

    def forget(self, user: User) -> None:
        """Free what is kept for a backward pass of this user, which is over or will not come."""
        self._passes.pop(user, None)
        user.server.release(user)

    def begin(self, user: User) -> None:
        """Begin a local round of a user: gradients of one that was interrupted are discarded."""
        self._gradients.pop(user, None)

    def gradients(self, user: User) -> tuple[Weights, ...]:
        """Hand over the gradients of a user's local round; none where each mini-batch has changed the blocks."""
        return tuple(self._gradients.pop(user, ()))

    def step(self, rounds: Sequence[tuple[User, Sequence[Weights]]]) -> None:
        """A step of each run on the mean gradient of those local rounds that it has a part in.

        Args:
            rounds: users and what `gradients` handed over of their local rounds, in the order of summation.
        """
        for run in self.runs:
            trained = [(user, each) for user, gradients in rounds for each in gradients if run in self.own[user]]
            if trained:
                own = [self._of_run(user, run, gradients) for user, gradients in trained]
                self._move(run, own)

    def _learn(self, user: User, gradients: Weights) -> None:
        if self.mode == "joint":
            self._gradients.setdefault(user, []).append(gradients)
            return
        share = sum(self._steps.values()) / len(self._steps) / self._steps[user]
        for run in self.own[user]:
            self._move(run, [self._of_run(user, run, gradients)], share if self.weighting == "inverse_rate" else 1)
        self._steps[user] += 1

    def _move(self, run: Run, gradients: list[Weights], share: float = 1) -> None:
        """An optimiser step on the mean of these gradients, of which a share is taken."""
        submit, before = self.world.executor.submit, run.weights
        step = (steps.apply_mean, self.world.server_optimiser, before, run.state)
        run.weights, run.state = submit(*step, gradients, (1 / len(gradients),) * len(gradients))
        if share != 1:
            run.weights = submit(mixed, before, run.weights, torch.tensor(share, dtype=torch.float64))
        run.version += 1

    def _of_run(self, user: User, run: Run, gradients: Weights) -> Weights:
        if len(self.own[user]) == 1:
            return gradients
        return self.world.executor.submit(steps.part, gradients, run.start, run.stop)

    def _activations(self, user: User, z: Smashed) -> dict[str, Tensor]:
        """What the server keeps of a forward pass: the output of each block, by its number, as meta tensors.

        Memory for it is reserved when the input arrives.
        """
        numbers = [number for run in self.own[user] for number in range(run.start, run.stop)]
        blocks = [between(self.world.chain, number, number + 1) for number in numbers]
        outputs = self.world.executor.plan(block_outputs, blocks, self.weights(user), z).profile.outputs[0].tree
        return {f"{number}.output": z for number, z in zip(numbers, outputs.values(), strict=True)}

    def _initial(self, start: int, stop: int) -> Run:
        weights = self.world.initial(between(self.world.chain, start, stop))
        return Run(start, stop, weights, self.world.server_optimiser.init(weights))

    def _merged(self, runs: Sequence[Run]) -> Weights:
        trees = [run.weights for run in runs]
        return trees[0] if len(trees) == 1 else self.world.executor.submit(steps.merge, *trees)


def between(chain: Any, start: int, stop: int) -> Any:
    """Blocks `start` to `stop` (exclusive) of a whole chain, adapted or not."""
    if stop < chain.blocks:
        chain = chain.cut(stop)[0]
    return chain.cut(start)[1] if start > 0 else chain


def block_outputs(blocks: Sequence[Part], parameters: Parameters, z: Any) -> dict[str, Tensor]:
    """Output of each of consecutive blocks, (samples, ...), by the names of their places in the list ("0.output")."""
    outputs = {}
    for place, block in enumerate(blocks):
        z = block(steps.named(parameters, tuple(block.parameters())), z)
        outputs[f"{place}.output"] = z
    return outputs
