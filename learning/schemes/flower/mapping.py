"""The arrays of an app's model, and the parameters of the scenario's model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from learning.steps import Parameters
from learning.world import World


class Mapping(NamedTuple):
    """Parameters of the scenario's model, in order, to which the arrays of an app are mapped by their places."""

    initial: Parameters
    """Their initial values, by name."""

    @classmethod
    def of(cls, world: World) -> Mapping:
        """Those of the whole model of a world."""
        return cls(world.initial(world.whole))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The initial values as arrays."""
        return {name: value.numpy() for name, value in self.initial.items()}

    def weights(self, arrays: Sequence[NDArray[np.generic]]) -> Parameters:
        """Arrays of an app as parameters of the model, in its number format.

        Raises:
            ValueError: they are not as many, or one has another shape.
        """
        theirs, ours = ([tuple(each.shape) for each in some] for some in (arrays, self.initial.values()))
        if theirs != ours:
            place = next((n for n, pair in enumerate(zip(theirs, ours, strict=False)) if pair[0] != pair[1]), None)
            if place is None:
                what = f"the app's model has {len(theirs)} arrays and learning.model has {len(ours)}"
            else:
                name = list(self.initial)[place]
                what = f"array {place} of the app has the shape {theirs[place]}, {name} of learning.model {ours[place]}"
            raise ValueError(f"{what}; describe the app's model by learning.model, or write evaluated: false")
        pairs = zip(self.initial.items(), arrays, strict=True)
        return {name: torch.from_numpy(np.array(each)).to(old.dtype) for (name, old), each in pairs}
