"""Fewer tokens cross the cut: the most important ones, the others merged into one, or the means of windows.

Position vectors were added before the first layer, and the layers treat all tokens alike, so no places have to be sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import torch
from annotated_types import Ge
from torch import Tensor
from torch.utils._pytree import register_pytree_node


class TokenReducer(Protocol):
    """A rule that maps a sequence of tokens, class token first, to a shorter one."""

    @property
    def scored(self) -> bool:
        """Whether it needs the class token's attention."""
        ...

    @property
    def random(self) -> bool:
        """Whether it needs a uniform number for each patch of each sample."""
        ...

    def sent(self, patches: int) -> int:
        """Tokens that are left of a class token and so many patches."""
        ...

    def __call__(self, h: Tensor, attention: Tensor | None, u: Tensor | None) -> Tensor:
        """Map (batch, 1 + patches, width) to (batch, `sent(patches)`, width).

        `attention` is that of the class token, (batch, 1 + patches); `u` is (batch, patches).
        """
        ...


@dataclass(frozen=True)
class Selected:
    """The class token, the patches that it attends to most in their old order, and one that stands for the rest."""

    # Selection and merging: Qiang et al., TSFLora, arXiv 2605.23988; the same in ST-SFLora, arXiv 2605.26120 (Eq. 14).

    keep: Annotated[int, Ge(0)] = 16
    """Patch tokens that are kept; with as many as there are, nothing changes."""

    by: Literal["attention", "random", "strided"] = "attention"
    """Those with most attention (of equals the first), drawn afresh for each sample, or evenly spaced ones."""

    merge: bool = True
    """Whether the mean of the other patches, weighted by their attention, is sent as one token more."""

    @property
    def scored(self) -> bool:
        return self.merge or self.by == "attention"

    @property
    def random(self) -> bool:
        return self.by == "random"

    def sent(self, patches: int) -> int:
        return 1 + patches if self.keep >= patches else 1 + self.keep + self.merge

    def __call__(self, h: Tensor, attention: Tensor | None, u: Tensor | None) -> Tensor:
        patches = h.shape[1] - 1
        if self.keep >= patches:
            return h
        share = None if attention is None else over_patches(attention)
        order = self._order(h, share, u)
        kept, rest = order[:, : self.keep].sort(dim=1).values, order[:, self.keep :]
        parts = [h[:, :1], _rows(h[:, 1:], kept)]
        if self.merge:
            assert share is not None
            parts.append(merged(_rows(h[:, 1:], rest), share.gather(1, rest)))
        return torch.cat(parts, dim=1)

    def _order(self, h: Tensor, share: Tensor | None, u: Tensor | None) -> Tensor:
        """Numbers of the patches, (batch, patches), those to be kept first."""
        samples, patches = h.shape[0], h.shape[1] - 1
        if self.by == "strided":
            numbers = torch.arange(patches, device=h.device)
            share = (numbers * self.keep % patches < self.keep).to(h.dtype).expand(samples, patches)
        scores = u if self.by == "random" else share
        assert scores is not None
        return scores.argsort(dim=1, descending=True, stable=True)


@dataclass(frozen=True)
class Pooled:
    """The class token, and the means of windows that slide over the patches."""

    window: Annotated[int, Ge(1)] = 2
    """Patches in a window; what is left at the end makes a shorter one."""

    stride: Annotated[int, Ge(1)] = 2
    """Patches from the beginning of a window to that of the next."""

    scored = random = False

    def sent(self, patches: int) -> int:
        return 1 + len(self._starts(patches))

    def __call__(self, h: Tensor, attention: Tensor | None, u: Tensor | None) -> Tensor:
        patches = h[:, 1:]
        windows = [patches[:, start : start + self.window].mean(1) for start in self._starts(patches.shape[1])]
        return torch.cat([h[:, :1], torch.stack(windows, dim=1)], dim=1)

    def _starts(self, patches: int) -> list[int]:
        return list(range(0, max(patches - self.window, 0) + self.stride, self.stride))


@dataclass(frozen=True, eq=False)
class Reduced:
    """A segment whose output has fewer tokens: wherever a step takes the device's segment, it may be given this.

    The attention decides, and is a constant to the backward pass.
    """

    segment: Any
    """Whatever a step takes; for an executor a tree like any other argument."""
    reducer: TokenReducer
    u: Any = None
    """Uniform numbers, where the reducer is random."""

    def __call__(self, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        if not self.reducer.scored:
            return self.reducer(self.segment(parameters, x), None, self.u)
        h, attention = self.segment.scored(parameters, x)
        return self.reducer(h, attention.detach(), self.u)


register_pytree_node(
    Reduced,
    lambda reduced: ([reduced.segment, reduced.reducer, reduced.u], None),
    lambda leaves, _: Reduced(*leaves),
)


def over_patches(attention: Tensor) -> Tensor:
    """The class token's attention to each patch, (batch, patches), as shares that sum to one."""
    patches = attention[:, 1:]
    return patches / patches.sum(dim=1, keepdim=True)


def importance(attention: Tensor) -> Tensor:
    """(patches,): the attention of each sample's patches, ranked and summed over the mini-batch by rank (ST-SFLora)."""
    return over_patches(attention).sort(dim=1, descending=True).values.sum(0)


def merged(tokens: Tensor, share: Tensor) -> Tensor:
    """Mean of tokens (batch, n, width) by their shares (batch, n), or the plain mean where these are all zero."""
    total = share.sum(dim=1, keepdim=True)
    weights = torch.where(total > 0, share / torch.where(total > 0, total, 1), 1 / share.shape[1])
    return (weights[:, :, None] * tokens).sum(1, keepdim=True)


def _rows(tokens: Tensor, numbers: Tensor) -> Tensor:
    return tokens.gather(1, numbers[:, :, None].expand(-1, -1, tokens.shape[2]))
