"""The model as it is deployed: cut in two, with the link at the cut that the scheme trains it over.

What a link does to smashed data (fewer tokens, fewer bits) it does to those of test samples too. Draws of a random
reducer or codec are the same at each evaluation, so that they do not add to the differences between models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import register_pytree_node, tree_leaves, tree_map

from learning import steps
from learning.codecs import Codec
from learning.data import Inputs
from learning.data.modalities import differentiable
from learning.draws import Draw
from learning.executor.deferred import to_meta_tree
from learning.ports import Streams
from learning.reducers import Reduced, TokenReducer
from learning.wire import transcode


class Deployed(NamedTuple):
    """What users' samples undergo on their way to the server's part of the model."""

    tokens: TokenReducer | None
    """Which tokens of a transformer's smashed data are sent; None is all."""
    activations: Codec
    """Codec of the smashed data."""
    cut: int | None = None
    """Blocks on the device; None is those before the first cut of the scenario."""

    @property
    def lossy(self) -> bool:
        """Whether the server receives other smashed data than the device computed: fewer tokens, or rounded values."""
        return self.tokens is not None or not self.activations.exact


@dataclass(frozen=True, eq=False)
class OverLink:
    """The whole model with a link at its cut; steps accept it in place of the whole model."""

    whole: Any
    """The whole model: a `Segment`, `Bound` or `Multimodal` one."""
    cut: int
    """Blocks on the device."""
    tokens: TokenReducer | None
    """Which tokens are sent; None is all."""
    codec: Codec
    """Codec of the smashed data."""
    samples: int
    """Samples whose smashed data are one message, and may share a quantiser's range."""
    patches: Any = None
    """(batch, patches): uniform numbers in [0, 1) of a random token reducer."""
    u: Any = None
    """Uniform numbers in [0, 1) of a stochastic codec, a list in the shapes of the smashed data's arrays."""

    def __call__(self, parameters: steps.Parameters, x: Any) -> Any:
        """Logits (batch, ..., classes) of samples `x`, (batch, *sample shape), for the whole model's parameters."""
        z, back = self.sent(parameters, x), self.whole.cut(self.cut)[1]
        received = [self._message(z, start) for start in range(0, len(tree_leaves(z)[0]), self.samples)]
        z = tree_map(lambda *messages: torch.cat(messages), *received)
        return back(steps.named(parameters, tuple(back.parameters())), z)

    def sent(self, parameters: steps.Parameters, x: Any) -> Any:
        """The smashed data that the device sends of samples `x`, before they are encoded."""
        front = self.whole.cut(self.cut)[0]
        own = steps.named(parameters, tuple(front.parameters()))
        return front(own, x) if self.tokens is None else Reduced(front, self.tokens, self.patches)(own, x)

    def _message(self, z: Any, start: int) -> Any:
        """The smashed data of a message's samples, from number `start` on, as the server decodes them."""
        rows = slice(start, start + self.samples)
        u = self.u and [array[rows] for array in self.u]
        return transcode(self.codec, tree_map(lambda array: array[rows], z), u)


register_pytree_node(OverLink, lambda whole: (list(vars(whole).values()), None), lambda leaves, _: OverLink(*leaves))


@dataclass(frozen=True)
class Deployment:
    """Puts links into the cuts of a model, for its evaluation."""

    cut: int
    """Blocks on the device where a `Deployed` says nothing else."""
    samples: int
    """Samples in a message."""
    streams: Streams
    """The run's random streams."""
    precision: torch.dtype
    """Number format of the weights."""

    def over(self, deployed: Deployed, whole: Any, x: Inputs, chunk: int) -> OverLink:
        """The whole model over a link.

        Args:
            deployed: the link.
            whole: the whole model, which may be bound to deferred frozen weights.
            x: samples of a chunk of the test set.
            chunk: number of the chunk, by which its draws are named.
        """
        tokens, codec, cut = deployed
        linked = OverLink(whole, self.cut if cut is None else cut, tokens, codec, self.samples)
        if tokens is not None and tokens.random:
            samples, sent = self._sent(replace(linked, tokens=None), x)[0].shape[:2]
            linked = replace(linked, patches=self._draw("test tokens", (chunk,), (samples, sent - 1)))
        if codec.stochastic:
            shapes = [tuple(array.shape) for array in self._sent(linked, x)]
            linked = replace(linked, u=[self._draw("test codec", (chunk, n), each) for n, each in enumerate(shapes)])
        return linked

    def _sent(self, linked: OverLink, x: Inputs) -> list[torch.Tensor]:
        """The smashed data's arrays of samples `x`, as meta tensors."""
        linked = to_meta_tree(linked)
        weights = {name: value.to(self.precision) for name, value in linked.whole.parameters().items()}
        return tree_leaves(differentiable(linked.sent(weights, to_meta_tree(x))))

    def _draw(self, purpose: str, entity: tuple[int, ...], shape: tuple[int, ...]) -> Draw:
        return Draw(self.streams, purpose, entity, shape, self.precision)
