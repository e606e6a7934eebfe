"""Sequences of tokens of each modality, and the model whose users send some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from learning.control.prediction import trainable_shapes
from learning.data import Inputs, Modalities, Rows, rows
from learning.models import Multimodal, Towers
from learning.parties import User
from learning.protocols.token_stages import operators
from learning.reducers import Strided, TokenReducer, WindowPool, reduced_towers
from learning.world import World

Rule = Literal["window_pool", "strided"]
"""Rule by which tokens are reduced, as in `TOKEN_REDUCERS`."""


class Sequences:
    """How many tokens a sample has of each modality, and models that send fewer.

    Args:
        world: the world, with the whole model.
        rule: how tokens are reduced.
        keep: tokens at the beginning of a sequence that windows leave as they are, by modality.
    """

    def __init__(self, world: World, rule: Rule, keep: Mapping[str, int]) -> None:
        assert isinstance(world.whole, Multimodal)
        self.whole, self.rule, self.keep = world.whole, rule, keep
        towers = world.whole.towers
        x, _ = rows(world.dataset, "test", np.arange(1))
        sent = world.executor.plan(operators.tokens, towers, trainable_shapes(world, towers), x).profile.outputs[0].tree
        self.tokens: dict[str, int] = {name: tokens.shape[1] for name, tokens in sent.items()}
        """Modality -> tokens of a sample."""

    def modality(self, user: User) -> str:
        """The modality that a user sends."""
        return next(name for name in user.batches.modalities if name in self.tokens)

    def reducer(self, modality: str, tokens: int) -> TokenReducer:
        """The rule that leaves a number of tokens of a modality."""
        return Strided(tokens) if self.rule == "strided" else WindowPool(tokens, self.keep.get(modality, 0))

    def model(self, tokens: Mapping[str, int]) -> Multimodal:
        """The model that sends so many tokens, by modality, and all of the others."""
        fewer = {name: count for name, count in tokens.items() if count < self.tokens[name]}
        return reduced_towers(self.whole, {name: self.reducer(name, count) for name, count in fewer.items()})

    def towers(self, modality: str, tokens: int) -> Towers:
        """The tower of one modality that sends so many tokens."""
        model = self.model({modality: tokens})
        return Towers(tuple(tower for tower in model.towers.towers if tower.name == modality))

    def drawn(self, world: World, number: int, fewest: int) -> dict[str, int]:
        """Lengths of all modalities for round `number`, uniform between `fewest` and all tokens."""
        return {
            name: int(world.streams.generator("token length", name, number).integers(min(fewest, count), count + 1))
            for name, count in self.tokens.items()
        }


def own_part(user: User, batch: tuple[Inputs, Rows]) -> tuple[Modalities, Rows]:
    """A batch with the modalities that a user holds."""
    x, y = batch
    assert isinstance(x, Modalities)
    return Modalities({name: x.values[name] for name in user.batches.modalities}, x.present), y
