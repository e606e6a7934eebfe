"""Token-compressed split federated fine-tuning. [TSFLora, Qiang et al., arXiv 2605.23988]

server -> user   adapters of the device part      per round
for each local step, all users side by side:
  user             forward pass, attention of the class token, selection, merging, quantisation
  user -> server   class token, tokens kept, merged token; range; labels
  server           forward pass, backward pass and step on the user's own replica of adapters and head
  server -> user   gradient of these tokens
  user             backward pass through selection and merging, and step
user -> server   adapters of the device part      per round
server           mean of the adapters of the devices, and of the replicas
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from learning.adapters import require_adapters
from learning.codecs import quantiser
from learning.local_training import LocalTraining
from learning.ports import Process
from learning.protocols.split import CutLink
from learning.reducers import Selected, patch_tokens
from learning.scheme import Scheme
from learning.schemes.sfl_v1 import SFLV1
from learning.world import World


@dataclass(frozen=True)
class TSFLora(LocalTraining, Scheme):
    """Split federated fine-tuning of adapters; the most important tokens are sent, in few bits (Qiang et al., 2026)."""

    tokens: Annotated[int, Ge(1)] = 40
    """Patch tokens kept; where there are no more than these, all are sent, and no merged one."""
    budget: Literal["patches", "sent"] = "patches"
    """What `tokens` counts: patch tokens alone, or all tokens sent, the class token and the merged one included."""
    selector: Literal["attention", "random", "strided"] = "attention"
    """Which patches are kept: those that the class token attends to most, patches drawn independently for each sample,
    or evenly spaced ones."""
    merge: bool = True
    """Whether the mean of the other patches, weighted by their attention, is sent as one more token."""
    bits: Annotated[int, Interval(ge=1, le=16)] | Literal[32] = 8
    """Bits of an activation; 32 is no quantisation."""
    rounding: Literal["nearest", "stochastic"] = "nearest"
    """How activations are rounded."""
    range: Literal["tensor", "token"] = "tensor"
    """Elements that share a range of the quantiser: those of a mini-batch, or of each token."""
    gradient_bits: Annotated[int, Interval(ge=1, le=16)] | Literal[32] = 32
    """Bits of an element of the cut-layer gradient; 32 is no quantisation."""
    label_bits: Annotated[int, Ge(0)] = 4
    """Bits of one sample's label."""
    weighting: Literal["by_samples", "uniform"] = "by_samples"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    average: Literal["factors", "product"] = "factors"
    """How adapters are averaged: each of their two factors; or their product, truncated to their rank, after which
    optimisers start each local round with a new state."""

    asynchronous = True
    hierarchical = True
    one_chain = True

    @property
    def link(self) -> CutLink:
        """Messages across the cut: tokens are selected, the others merged, and the result is quantised."""
        keep = self.tokens if self.budget == "patches" else max(self.tokens - 1 - self.merge, 0)
        return CutLink(
            tokens=Selected(keep, self.selector, self.merge),
            activations=quantiser(self.bits, self.rounding, self.range),
            gradients=quantiser(self.gradient_bits, self.rounding, self.range),
            label_bits=self.label_bits,
        )

    def run(self, world: World) -> Process[None]:
        return self._plain.run(world)

    def check(self, world: World) -> None:
        """Raises ValueError unless adapters train on a transformer whose first token is a class token."""
        require_adapters(world.front)
        patch_tokens(world.front, world.dataset.train.x)
        self._plain.check(world)

    @property
    def _plain(self) -> SFLV1:
        """SplitFed version 1 with this link, of which the scheme consists."""
        return SFLV1(self.local_steps, self.weighting, self.link, self.average, local_epochs=self.local_epochs)
