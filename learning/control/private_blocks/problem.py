"""The choice of private blocks."""

from __future__ import annotations

from typing import NamedTuple


class Split(NamedTuple):
    """Numbers of blocks on a user's device; the blocks in between are at the server."""

    first: int
    """Blocks from the beginning of the model."""
    last: int
    """Blocks at the end of the model, its head included; 0 is the L shape, in which labels go to the server."""

    def span(self, blocks: int) -> tuple[int, int]:
        """Number of the first block at the server and of the first block behind, in a model of `blocks` blocks."""
        return self.first, blocks - self.last
