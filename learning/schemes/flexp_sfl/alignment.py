"""Alignment of a user's private blocks with the server's copies of them, which other users train."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Interval
from torch.utils._pytree import register_pytree_node

from learning.executor.flops import charge_elementwise
from learning.optimisers import Params, Wrapped
from learning.schemes.flexp_sfl.proxy import Proxy


@dataclass(frozen=True)
class Alignment:
    """Pull of private blocks towards the server's; without effect on blocks that no other user has at the server."""

    proximal: Annotated[float, Ge(0)] = 0.01
    """Weight of the proximal term, half the squared distance to the reference, in the local loss; 0 is none."""
    mixing: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Share of the reference that is mixed into private blocks when it arrives; 0 is none, 1 replaces them."""
    every: Annotated[int, Ge(1)] = 20
    """Steps of a user from one download of the reference to the next."""
    blocks: tuple[Annotated[int, Ge(0)], ...] | None = None
    """Numbers of the blocks that may be aligned (default: all)."""
    uppermost: Annotated[int, Ge(0)] | None = None
    """How many of these blocks are aligned, those nearest to the user's cuts (default: all)."""

    proxy: Proxy | None = None
    """Public samples on which users' predictions are aligned (default: none)."""

    @property
    def pulls(self) -> bool:
        """Whether private blocks are drawn to the server's copies."""
        return self.proximal > 0 or self.mixing > 0

    def of(self, private: range, elsewhere: Iterable[range]) -> tuple[int, ...]:
        """Numbers of the private blocks of a user that are aligned, ascending.

        Args:
            private: the first or the last blocks of the user, those on its device.
            elsewhere: for each of the other users, the blocks that it has at the server.
        """
        trained = {number for others in elsewhere for number in others}
        among = [n for n in private if n in trained and (self.blocks is None or n in self.blocks)]
        if self.uppermost is None:
            return tuple(among)
        return (
            tuple(among[-self.uppermost :] if private.start == 0 else among[: self.uppermost]) if self.uppermost else ()
        )


@dataclass(frozen=True, eq=False)
class Proximal(Wrapped):
    """An optimiser with a proximal term: strength (w - reference) is added to gradients, at two FLOPs a weight.

    For an executor it is a tree of operands, the reference, so that users' steps are grouped.
    """

    strength: float
    """Weight of the term."""
    reference: Any
    """Weights by name, of some of the parameters, as tensors or deferred."""

    def step(self, params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        """One update of the parameters, as of the inner optimiser, on gradients with the term."""
        charge_elementwise(2, self.reference)
        pulled = {name: grads[name] + self.strength * (params[name] - w) for name, w in self.reference.items()}
        return self.inner.step(params, {**grads, **pulled}, state)


def _proximal(children: Iterable[Any], strength: float) -> Proximal:
    inner, reference = children
    return Proximal(inner, strength, reference)


register_pytree_node(
    Proximal,
    lambda optimiser: ([optimiser.inner, optimiser.reference], optimiser.strength),
    _proximal,
)
