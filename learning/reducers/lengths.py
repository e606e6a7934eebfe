"""Token reducers to a given number of tokens, by position alone: evenly spaced tokens, or means of sliding windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from learning.executor.flops import charge_elementwise

Length = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Strided:
    """Keeps evenly spaced tokens, the first and the last included."""

    # Zhang et al., token communication, arXiv 2505.07841v1 (released code): positions floor(linspace(0, N - 1, L)).

    tokens: Length = 16
    """Number of tokens that are kept; all of a shorter sequence."""

    scored = random = False

    def sent(self, patches: int) -> int:
        """As `TokenReducer.sent`."""
        return min(self.tokens, 1 + patches)

    def __call__(self, h: Tensor, attention: Tensor | None, u: Tensor | None) -> Tensor:
        """As `TokenReducer` has it."""
        return h[:, self.positions(h.shape[1])]

    def positions(self, tokens: int) -> list[int]:
        """The positions that are kept of a sequence of `tokens` tokens, ascending."""
        kept = min(self.tokens, tokens)
        return [place * (tokens - 1) // max(kept - 1, 1) for place in range(kept)]


@dataclass(frozen=True)
class WindowPool:
    """Keeps the first tokens, and averages the others over as many sliding windows as there are tokens left to send.

    Windows cover all of these tokens; adjacent ones overlap by at most one token. One addition is charged for each
    element of a window.
    """

    # Zhang et al., arXiv 2505.07841v3. Window j of l covers floor(j N / l) to ceil((j + 1) N / l), exclusive.

    tokens: Length = 16
    """Number of tokens that are sent, the kept ones included; all of a shorter sequence."""

    keep: Annotated[int, Ge(0)] = 0
    """Tokens at the beginning, such as summary tokens, that are sent as they are; fewer if fewer tokens are sent."""

    scored = random = False

    def sent(self, patches: int) -> int:
        """As `TokenReducer.sent`."""
        return min(self.tokens, 1 + patches)

    def __call__(self, h: Tensor, attention: Tensor | None, u: Tensor | None) -> Tensor:
        """As `TokenReducer` has it."""
        kept = min(self.keep, self.tokens)
        windows = self.windows(h.shape[1] - kept)
        means = [h[:, kept + window.start : kept + window.stop].mean(1, keepdim=True) for window in windows]
        charge_elementwise(sum(map(len, windows)), h[:, :1])
        return torch.cat([h[:, :kept], *means], dim=1)

    def windows(self, tokens: int) -> list[range]:
        """The windows over `tokens` tokens, those that are kept not counted."""
        count = min(self.tokens - min(self.keep, self.tokens), tokens)
        return [range(j * tokens // count, -(-(j + 1) * tokens // count)) for j in range(count)]
