"""What a user's device has of the model: its private blocks, and the reference to which they are aligned."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from learning import steps
from learning.aggregators import mixed
from learning.control.private_blocks import Split
from learning.executor.deferred import specification
from learning.parties import User
from learning.ports import Process
from learning.protocols.shared_blocks import SharedBlocks, between
from learning.protocols.u_shaped import PrivatePart
from learning.schemes.flexp_sfl.alignment import Alignment, Proximal
from learning.schemes.flexp_sfl.proxy import Consensus
from learning.steps import Weights
from learning.world import World


class Device:
    """The private blocks of one user.

    Args:
        world: the world, with the device's optimiser.
        user: the user.
        split: its numbers of private blocks.
        alignment: how they are aligned.
        elsewhere: for each of the other users, the blocks that it has at the server.
        consensus: predictions of all users on public samples, if these are aligned.
    """

    def __init__(
        self,
        world: World,
        user: User,
        split: Split,
        alignment: Alignment,
        elsewhere: Sequence[range],
        consensus: Consensus | None = None,
    ) -> None:
        self.world, self.user, self.alignment, self.consensus = world, user, alignment, consensus
        blocks = world.chain.blocks
        start, stop = split.span(blocks)
        self.first = self._part(0, start)
        self.last = self._part(stop, blocks) if split.last else None
        private = range(start), range(stop, blocks)
        self.aligned = tuple(number for side in private for number in alignment.of(side, elsewhere))
        """Numbers of the private blocks that are aligned."""
        self.steps = 0
        """Mini-batches so far."""
        self.interval = -1
        """Latest interval between averages for which it has downloaded blocks; -1 before the first download."""

    @property
    def parts(self) -> list[PrivatePart]:
        """Its first blocks and, where it has any, its last ones."""
        return [self.first] if self.last is None else [self.first, self.last]

    def begin(self) -> None:
        """Take the optimiser of the present round."""
        for part in self.parts:
            pull, plain = part.optimiser, self.world.optimiser
            part.optimiser = Proximal(plain, pull.strength, pull.reference) if isinstance(pull, Proximal) else plain

    def model(self, blocks: SharedBlocks) -> tuple[Weights, ...]:
        """Weights of the user's personal model, in parts."""
        middle = [blocks.weights(self.user)] if blocks.own[self.user] else []
        return (self.first.weights, *middle, *(part.weights for part in self.parts[1:]))

    def receive(self, weights: Sequence[Weights]) -> None:
        """Replace weights of its parts by those that were downloaded, some or all of each part's."""
        for part, new in zip(self.parts, weights, strict=True):
            part.weights = self.world.executor.submit(steps.merge, part.weights, new)

    def chosen(self, whole: Weights | None, blocks: Sequence[int] | None) -> list[Weights]:
        """Weights of the blocks with these numbers (default: all) for each of its parts, out of a tree of many.

        Args:
            whole: the tree; None is the device's own weights.
            blocks: the numbers.
        """
        trees: list[Weights] = []
        for part in self.parts:
            names = [n for n in specification(part.weights).tree if blocks is None or steps.block(n) in blocks]
            tree = part.weights if whole is None else whole
            trees.append(self.world.executor.submit(steps.named, tree, tuple(names)) if names else {})
        return trees

    def align(self, blocks: SharedBlocks) -> Process[None]:
        """All alignment that is due: with copies of blocks at the server, and by predictions on public samples."""
        if self.alignment.pulls:
            yield from self._follow(blocks)
        if self.consensus is not None and self.last is not None:
            yield from self.consensus.align(self.user, self.first, self.last, blocks)

    def _follow(self, blocks: SharedBlocks) -> Process[None]:
        """Download of the server's copies of the aligned blocks, to which they are drawn from now on."""
        copies = blocks.copies(self.aligned)
        if not specification(copies).leaves:
            return
        references = self.chosen(copies, self.aligned)
        references = yield from self.user.server.send(self.user, references, "reference")
        self.refer(references)
        if not self.alignment.mixing:
            return
        share = torch.tensor(self.alignment.mixing, dtype=torch.float64)
        for part, reference in zip(self.parts, references, strict=True):
            if names := tuple(specification(reference).tree):
                own = self.world.executor.submit(steps.named, part.weights, names)
                new = yield from self.user.do(mixed, own, reference, share, kind="alignment")
                part.weights = self.world.executor.submit(steps.merge, part.weights, new)

    def refer(self, references: Sequence[Weights]) -> None:
        """Draw each part to a reference, weights of some of its blocks, by the proximal term."""
        if self.alignment.proximal:
            for part, reference in zip(self.parts, references, strict=True):
                if specification(reference).leaves:
                    part.optimiser = Proximal(self.world.optimiser, self.alignment.proximal, reference)

    def _part(self, start: int, stop: int) -> PrivatePart:
        part = between(self.world.chain, start, stop)
        weights = self.world.initial(part)
        return PrivatePart(part, weights, self.world.optimiser.init(weights), self.world.optimiser)
