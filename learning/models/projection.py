"""Linear maps of a transformer with named roles, by which low-rank adapters refer to them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowRank(nn.Module):
    """The product of two thin matrices, scaled: x (..., inputs) to scale x down^T up^T (..., outputs)."""

    # Hu et al., LoRA, arXiv 2106.09685, equation 3.

    def __init__(self, inputs: int, outputs: int, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Parameter(torch.zeros(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.down), self.up) * self.scale


class Projection(nn.Linear):
    """A linear map whose outputs are divided evenly among its roles, such as q, k and v of an attention.

    Children are adapters, each with the name of its target: one role, or all of them together ("qkv").
    """

    def __init__(self, inputs: int, outputs: int, *roles: str) -> None:
        super().__init__(inputs, outputs)
        self.roles = roles

    def rows(self, target: str) -> slice | None:
        """Rows of the weight that belong to `target`; None if that is no role."""
        if target == "".join(self.roles):
            return slice(0, self.out_features)
        if target not in self.roles:
            return None
        each, position = self.out_features // len(self.roles), self.roles.index(target)
        return slice(position * each, (position + 1) * each)

    def placed(self, target: str, increment: Tensor) -> Tensor:
        """An increment of the rows of `target`, (rows, inputs), as one of the whole weight, zero in all other rows."""
        rows = self._named(target)
        return F.pad(increment, (0, 0, rows.start, self.out_features - rows.stop))

    def adapt(self, target: str, rank: int, scale: float) -> None:
        """Add a low-rank adapter to the rows of `target`, with this rank and scale."""
        rows = self._named(target)
        self.add_module(target, LowRank(self.in_features, rows.stop - rows.start, rank, scale))

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        for target, adapter in self.named_children():
            rows = self._named(target)
            out = out + F.pad(adapter(x), (rows.start, self.out_features - rows.stop))
        return out

    def _named(self, target: str) -> slice:
        rows = self.rows(target)
        if rows is None:
            raise ValueError(f"{target} is not among {', '.join(self.roles)}")
        return rows
