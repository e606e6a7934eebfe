"""Running statistics of batch normalisation among the parameters of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.utils._pytree import register_pytree_node

from learning.optimisers import Optimiser, Params, Wrapped


@dataclass(frozen=True, eq=False)
class Tracking(Wrapped):
    """An optimiser of a model with running statistics, which are replaced by new ones where others take a step.

    New statistics come in place of gradients; momentum, weight decay and clipping do not know them. For an executor it
    is a tree of operands.
    """

    names: frozenset[str]
    """Names of the running statistics."""

    def init(self, params: Params) -> Any:
        """State before the first step, of all other parameters."""
        return self.inner.init(self._trained(params))

    def step(self, params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        """One update of the parameters; arguments as of the inner optimiser."""
        moved: Params = {}
        trained = self._trained(params)
        if trained:
            moved, state = self.inner.step(trained, self._trained(grads), state)
        return {name: moved[name] if name in moved else grads[name] for name in params}, state

    def _trained(self, tree: Params) -> Params:
        return {name: value for name, value in tree.items() if name not in self.names}


register_pytree_node(Tracking, lambda each: ([each.inner, each.names], None), lambda leaves, _: Tracking(*leaves))


def tracking(optimiser: Optimiser, names: frozenset[str]) -> Optimiser:
    """The optimiser of a model with running statistics of these names, which may be none."""
    return Tracking(optimiser, names) if names else optimiser
