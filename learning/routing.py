"""Laws of routing: which experts tokens go to, where no gate is computed."""

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
    """Every token goes to different experts drawn at random, all equally likely: a gate without preferences."""

    experts: Annotated[int, Ge(1)]
    """Number of experts of the layer."""

    def stand_in(self, streams: Streams, *entity: int) -> Callable[[Tensor], Tensor]:
        """What stands in for the choice of a gate, to be given to `User.read`.

        It makes a tensor of shape (tokens, experts per token) into one of expert numbers, int64. `entity` names the
        draw, such as by user, round and layer: equal names and shapes give equal numbers.

        Raises ValueError where a token is to go to more experts than there are.
        """

        def chosen(shape: Tensor) -> Tensor:
            tokens, per_token = shape.shape
            if per_token > self.experts:
                raise ValueError(f"a token cannot go to {per_token} of {self.experts} experts")
            drawn = streams.generator("routing", *entity).random((tokens, self.experts))
            return torch.from_numpy(drawn.argsort(axis=-1)[:, :per_token].copy())

        return chosen
