"""Recurrent layers as pure functions, and a model of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor, nn


class Cell(nn.Module):
    """Weights of one recurrent layer, with the names and the layout of torch's `nn.LSTM` and `nn.GRU`."""

    def __init__(self, inputs: int, hidden: int, gates: int) -> None:
        """`gates` is the number of gates: the weights of all are one matrix."""
        super().__init__()
        self.hidden = hidden
        self.weight_ih_l0 = nn.Parameter(torch.empty(gates * hidden, inputs))
        self.weight_hh_l0 = nn.Parameter(torch.empty(gates * hidden, hidden))
        self.bias_ih_l0 = nn.Parameter(torch.empty(gates * hidden))
        self.bias_hh_l0 = nn.Parameter(torch.empty(gates * hidden))

    def of_inputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """The inputs' part of the gates at each step: (batch, gates * hidden) for each of (batch, steps, inputs)."""
        return F.linear(x, self.weight_ih_l0, self.bias_ih_l0).unbind(1)

    def of_state(self, h: Tensor) -> Tensor:
        """The state's part of the gates, (batch, gates * hidden)."""
        return F.linear(h, self.weight_hh_l0, self.bias_hh_l0)


class Lstm(Cell):
    """One LSTM layer, (batch, steps, inputs) to its outputs (batch, steps, hidden); it equals torch's `nn.LSTM`.

    torch's own layers keep references to their weights, so that they are no pure functions of these.
    """

    # Hochreiter and Schmidhuber, Neural Computation 1997, with the forget gate of Gers et al. 2000.

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), self.hidden)
        outputs = []
        for step in self.of_inputs(x):
            i, f, g, o = (step + self.of_state(h)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1)


class Gru(Cell):
    """One GRU layer, (batch, steps, inputs) to its outputs (batch, steps, hidden); it equals torch's `nn.GRU`."""

    # Cho et al., arXiv 1406.1078, with the reset gate after the product, as in cuDNN.

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), self.hidden)
        outputs = []
        for step in self.of_inputs(x):
            r, z, n = step.chunk(3, -1)
            hr, hz, hn = self.of_state(h).chunk(3, -1)
            update = (z + hz).sigmoid()
            h = (1 - update) * (n + (r + hr).sigmoid() * hn).tanh() + update * h
            outputs.append(h)
        return torch.stack(outputs, 1)


class LastStep(nn.Module):
    """The last of the steps (batch, steps, width): (batch, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1]


@dataclass(frozen=True)
class Recurrent:
    """Recurrent network on rows of tokens or series of numbers (steps, features): embedding | layers | classifier."""

    cell: Literal["lstm", "gru"] = "lstm"
    """Kind of the layers."""

    hidden: Annotated[int, Interval(ge=1, le=1_000_000)] = 64
    """Width of the state of a layer."""

    depth: Annotated[int, Interval(ge=1, le=100)] = 1
    """Number of layers, one block each."""

    vocabulary: Annotated[int, Interval(ge=2, le=10_000_000)] | None = None
    """Number of different tokens (default: as many as classes); without meaning for series of numbers."""

    width: Annotated[int, Interval(ge=1, le=1_000_000)] = 16
    """Width of the embedding of a token; without meaning for series of numbers."""

    predicts: Literal["sample", "token"] = "sample"
    """Whether there is one label for a sample, which the last step predicts, or one for each token."""

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        """As `Architecture.blocks`. Raises ValueError if samples are neither rows of tokens nor series of numbers."""
        if len(input_shape) not in (1, 2):
            raise ValueError(f"samples need the shape (tokens,) or (steps, features), but theirs is {input_shape}")
        layer = Lstm if self.cell == "lstm" else Gru
        tokens = len(input_shape) == 1
        embedding = [nn.Embedding(self.vocabulary or classes, self.width)] if tokens else []
        widths = [self.width if tokens else input_shape[-1], *[self.hidden] * self.depth]
        layers = [layer(into, self.hidden) for into in widths[:-1]]
        head = nn.Linear(self.hidden, classes)
        return [*embedding, *layers, nn.Sequential(LastStep(), head) if self.predicts == "sample" else head]
