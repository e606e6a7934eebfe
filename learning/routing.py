"""Routing distributions: to which experts tokens go in a dry run, where no gate is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from learning.ports import Streams


@dataclass(frozen=True)
class UniformRouting:
    """Every token goes to distinct experts drawn at random, all equally likely."""

    experts: Annotated[int, Ge(1)]
    """Number of experts of the layer."""

    def stand_in(self, streams: Streams, *entity: int) -> Callable[[Tensor], Tensor]:
        """A stand-in for the choice of a gate, to be passed to `User.read`.

        Args:
            streams: the run's random streams.
            entity: names of the draw, such as numbers of user, round and layer; equal names and shapes give equal
                choices.

        Returns:
            A function of a meta tensor of shape (tokens, experts per token) that returns expert numbers of that shape,
            int64. It raises ValueError where a token is to go to more experts than there are.
        """

        def chosen(shape: Tensor) -> Tensor:
            tokens, per_token = shape.shape
            if per_token > self.experts:
                raise ValueError(f"a token cannot go to {per_token} of {self.experts} experts")
            drawn = streams.generator("routing", *entity).random((tokens, self.experts))
            return torch.from_numpy(drawn.argsort(axis=-1)[:, :per_token].copy())

        return chosen
