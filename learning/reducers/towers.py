"""Towers whose tokens are reduced before their last block, which maps each token to the features that are sent.

Tokens of a tower of one block, such as a table of words, are reduced behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import register_pytree_node

from learning.models.towers import Multimodal, Towers, own
from learning.reducers.tokens import TokenReducer


@dataclass(frozen=True, eq=False)
class ReducedTower:
    """A tower with a token reducer before its last block, or behind its only one; a part of a model like the tower."""

    tower: Any
    """The tower, a segment with adapters or without."""
    reducer: TokenReducer
    """The rule that reduces the tokens; it needs neither attention nor random numbers."""

    @property
    def name(self) -> str:
        """Name of the modality."""
        return str(self.tower.name)

    @property
    def parameter_count(self) -> int:
        """Number of scalars in the tower's parameters."""
        return int(self.tower.parameter_count)

    def parameters(self) -> dict[str, Tensor]:
        """The parameters of the tower."""
        parameters: dict[str, Tensor] = self.tower.parameters()
        return parameters

    def __call__(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        """The reduced tokens (batch, tokens, features) of samples (batch, ...)."""
        if self.tower.blocks == 1:
            words: Tensor = self.reducer(self.tower(params, x), None, None)
            return words
        encoder, projection = self.tower.cut(self.tower.blocks - 1)
        tokens: Tensor = self.reducer(encoder(own(encoder, params), x), None, None)
        features: Tensor = projection(own(projection, params), tokens)
        return features


register_pytree_node(
    ReducedTower, lambda tower: ([tower.tower, tower.reducer], None), lambda leaves, _: ReducedTower(*leaves)
)


def reduced_towers(model: Multimodal, reducers: Mapping[str, TokenReducer]) -> Multimodal:
    """The model with a token reducer in each tower that `reducers` names, by modality.

    Raises ValueError if there is no such tower, or a reducer needs attention or random numbers.
    """
    towers = {tower.name: tower for tower in model.towers.towers}
    for name, reducer in reducers.items():
        if name not in towers:
            raise ValueError(f"there is no tower of {name} whose tokens could be reduced")
        if reducer.scored or reducer.random:
            raise ValueError(f"the tokens of {name} are reduced by a rule on positions: strided, window_pool")
        towers[name] = ReducedTower(towers[name], reducer)
    return Multimodal(Towers(tuple(towers.values())), model.fusion)
