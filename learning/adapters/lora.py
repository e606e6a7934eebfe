"""Low-rank adaptation (LoRA) as a scenario describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, MinLen

from learning.adapters.adapted import Adapted, Scaling, adapt, weights
from learning.models.segment import Segment


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters on weights of a frozen backbone: W x + scale B A x, of which A and B are trained."""

    # Hu et al., arXiv 2106.09685: A is random and B zero, so that fine-tuning begins with the backbone's function.
    # The root: Kalajdzievski, arXiv 2312.03732.

    rank: Annotated[int, Ge(1)] = 4
    """Rows of A and columns of B; a weight with a shorter side gets the length of that side as its rank."""

    alpha: Annotated[float, Gt(0)] = 8.0
    """Numerator of the scale."""

    targets: Annotated[tuple[Literal["q", "k", "v", "qkv", "proj", "fc1", "fc2"], ...], MinLen(1)] = ("q", "v")
    """Weights of each layer with adapters: query, key, value, the three of them fused (`qkv`), attention output
    (`proj`), and the two of the MLP (`fc1`, `fc2`)."""

    blocks: Literal["all", "server"] = "all"
    """Layers with adapters: all, or only those at the server, above the cut or in the fusion network."""

    head: bool = True
    """Whether the model's last block (norm and classifier) is trained too."""

    initial: Literal["gaussian", "kaiming"] = "gaussian"
    """Distribution of the initial A: normal with variance 1 / rank, or uniform in +-1/sqrt(inputs)."""

    scaling: Scaling = "rank"
    """Denominator of the scale: the rank; its square root (`root`), which with `kaiming` makes steps of all ranks
    equally large; or 1 (`none`)."""

    def on(self, segment: Segment, cut: int = 1) -> Adapted:
        """Put adapters on a segment of a model that is cut before block `cut`.

        Raises ValueError where a target names no weight of the whole model.
        """
        for target in self.targets:
            if not weights(segment.whole, target):
                raise ValueError(f"no weight of the model is a {target}, so that no adapter can be put on it")
        sides = weights(segment, *self.targets)
        if self.blocks == "server":
            sides = {weight: size for weight, size in sides.items() if segment.block(weight) >= cut}
        ranks = {weight: min(self.rank, *sides[weight]) for weight in sides}
        return adapt(segment, ranks, self.alpha, tuned=self.head, law=self.initial, scaling=self.scaling)
