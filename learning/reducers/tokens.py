"""Token reducers: of the tokens at the cut, the most important ones and the mean of the others, or means of windows.

Position embeddings were added before the first layer, and the layers treat all tokens alike, so no positions are sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import torch
from annotated_types import Ge
from torch import Tensor
from torch.utils._pytree import register_pytree_node

from learning.adapters import Bound, Part
from learning.executor.deferred import to_meta_tree
from learning.executor.shape_run import shape_run
from learning.models import Towers


class TokenReducer(Protocol):
    """A rule that maps a sequence of tokens, of which the class token is the first, to a shorter one."""

    @property
    def scored(self) -> bool:
        """Whether it needs the class token's attention."""
        ...

    @property
    def random(self) -> bool:
        """Whether it needs a uniform number for each patch of each sample."""
        ...

    def sent(self, patches: int) -> int:
        """Number of tokens that a class token and `patches` patch tokens are reduced to."""
        ...

    def __call__(self, h: Tensor, attention: Tensor | None, u: Tensor | None) -> Tensor:
        """Reduce a mini-batch of tokens.

        Args:
            h: tokens, (batch, 1 + patches, width).
            attention: attention of the class token to each token, (batch, 1 + patches); None unless the rule is
                `scored`.
            u: uniform numbers in [0, 1), (batch, patches); None unless the rule is `random`.

        Returns:
            The reduced tokens, (batch, `sent(patches)`, width).
        """
        ...


@dataclass(frozen=True)
class Selected:
    """Keeps the class token and the patches that it attends to most, in their order, and merges the others into one."""

    # Selection and merging: Qiang et al., TSFLora, arXiv 2605.23988; the same in ST-SFLora, arXiv 2605.26120 (Eq. 14).

    keep: Annotated[int, Ge(0)] = 16
    """Patch tokens that are kept; where there are no more than these, all are sent and none is merged."""

    by: Literal["attention", "random", "strided"] = "attention"
    """Which patches are kept: those with most attention (of equal ones the first), patches drawn independently for each
    sample, or evenly spaced ones."""

    merge: bool = True
    """Whether the mean of the other patches, weighted by their attention, is sent as one more token."""

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
        """(batch, patches): indices of the patches, those to be kept first."""
        samples, patches = h.shape[0], h.shape[1] - 1
        if self.by == "strided":
            numbers = torch.arange(patches, device=h.device)
            share = (numbers * self.keep % patches < self.keep).to(h.dtype).expand(samples, patches)
        scores = u if self.by == "random" else share
        assert scores is not None
        return scores.argsort(dim=1, descending=True, stable=True)


@dataclass(frozen=True)
class Pooled:
    """Keeps the class token, and averages the patches over sliding windows."""

    window: Annotated[int, Ge(1)] = 2
    """Patches in a window; the last window may be shorter."""

    stride: Annotated[int, Ge(1)] = 2
    """Patches from the start of a window to the start of the next."""

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
    """A segment with a token reducer at its end; steps accept it in place of the device's segment.

    The backward pass treats the attention as a constant.
    """

    segment: Any
    """The device's part of the model: a `Segment`, or a `Bound` one with adapters."""
    reducer: TokenReducer
    """The rule that reduces its output."""
    u: Any = None
    """(batch, patches): uniform numbers in [0, 1), where the reducer is `random`."""

    def __call__(self, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        """The reduced tokens at the cut, (batch, tokens, width), of a mini-batch `x`, (batch, *sample shape)."""
        if not self.reducer.scored:
            return self.reducer(self.segment(parameters, x), None, self.u)
        h, attention = self.segment.scored(parameters, x)
        return self.reducer(h, attention.detach(), self.u)


register_pytree_node(
    Reduced,
    lambda reduced: ([reduced.segment, reduced.reducer, reduced.u], None),
    lambda leaves, _: Reduced(*leaves),
)


def reduce_tokens(reducer: TokenReducer, h: Tensor, attention: Tensor | None, u: Tensor | None) -> Tensor:
    """Apply a token reducer as an operation of its own, to tokens that were computed before; see `TokenReducer`."""
    return reducer(h, attention, u)


def patch_tokens(front: Part, x: Any) -> int:
    """Number of patch tokens at the cut, among which the class token's attention can select.

    Args:
        front: the device's part of the model.
        x: samples, (samples, *sample shape), of which only the shape is used.

    Raises:
        ValueError: the model has several towers, no class token, or no layer with attention before the cut.
    """
    if isinstance(front, Towers):
        raise ValueError("tokens are selected in one chain of blocks; leave out learning.towers")
    segment = front.adapted.segment if isinstance(front, Bound) else front
    architecture = segment.architecture
    if not getattr(architecture, "class_token", False):
        optional = "class_token" in getattr(architecture, "__dataclass_fields__", {})
        remedy = "set learning.model.class_token" if optional else "choose a learning.model that has one, such as vit"
        raise ValueError(f"tokens are selected by the class token's attention; {remedy}")
    try:
        _, attention = shape_run(to_meta_tree(front).scored, (front.parameters(), to_meta_tree(x))).results
    except ValueError:
        raise ValueError("there is no attention before the cut; put learning.cut after the first layer") from None
    return int(attention.shape[1]) - 1


def check_tokens(reducer: TokenReducer, front: Part, x: Any) -> None:
    """Raises ValueError where a reducer cannot be at the end of the device's part of the model.

    `front` is that part, `x` some samples, (samples, *sample shape), whose values are not read.
    """
    if reducer.scored:
        patch_tokens(front, x)
        return
    if isinstance(front, Towers):
        raise ValueError("tokens are reduced in one chain of blocks; leave out learning.towers")
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    weights = {name: value.to(dtype) for name, value in front.parameters().items()}
    z = shape_run(to_meta_tree(front), (weights, to_meta_tree(x))).results
    if not isinstance(z, Tensor) or z.ndim != len(("samples", "tokens", "width")):
        raise ValueError("tokens can be reduced at the cut of a transformer only; leave out link.tokens")


def over_patches(attention: Tensor) -> Tensor:
    """(batch, patches): attention to the patches, normalised to sum to one, from that to all tokens (batch, 1 + n)."""
    patches = attention[:, 1:]
    return patches / patches.sum(dim=1, keepdim=True)


def importance(attention: Tensor) -> Tensor:
    """(patches,): attention to the patches, sorted in each sample and summed over samples by rank [ST-SFLora, Eq. 18].

    `attention` is that of the class token to all tokens, (batch, 1 + patches).
    """
    return over_patches(attention).sort(dim=1, descending=True).values.sum(0)


def merged(tokens: Tensor, share: Tensor) -> Tensor:
    """(batch, 1, width): mean of tokens (batch, n, width) with weights `share` (batch, n); unweighted if all are 0."""
    total = share.sum(dim=1, keepdim=True)
    weights = torch.where(total > 0, share / torch.where(total > 0, total, 1), 1 / share.shape[1])
    return (weights[:, :, None] * tokens).sum(1, keepdim=True)


def _rows(tokens: Tensor, numbers: Tensor) -> Tensor:
    return tokens.gather(1, numbers[:, :, None].expand(-1, -1, tokens.shape[2]))
