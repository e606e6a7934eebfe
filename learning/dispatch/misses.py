"""Misses: what is done about an expert that no site holds but the one that has all experts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from learning.dispatch.weights import NO_EXPERT
from learning.steps import Parameters, Part


class Miss(Protocol):
    """What is done about the experts that tokens of one user miss in one pass of a layer."""

    @property
    def action(self) -> str:
        """Name of what is done, for the column `miss_action` of the table `expert_calls`."""
        ...

    @property
    def fetches(self) -> bool:
        """Whether the user's cache fetches a missing expert, as far as its eviction policy makes room for it."""
        ...

    @property
    def waits(self) -> bool:
        """Whether the call of a missing expert waits until it has been fetched."""
        ...

    @property
    def probe_tokens(self) -> int:
        """Number of tokens on whose outputs experts are compared; 0 if they are not compared."""
        ...

    def replaced(
        self, missing: Collection[int], held: Collection[int], similarity: Tensor | None
    ) -> dict[int, int] | None:
        """What tokens use in place of missing experts.

        Args:
            missing: numbers of the missing experts.
            held: numbers of the experts of the layer that some other site holds.
            similarity: as from `similarity`; None if experts are not compared, or the executor computes no values.

        Returns:
            Missing expert -> the expert in its place, or `NO_EXPERT`; None if missing experts are called all the same.
        """
        ...


@dataclass(frozen=True)
class FromCloud:
    """A missing expert is called at the site that has all experts."""

    fetch: bool = True
    """Fetch it to the user's cache in the background, as far as the cache's eviction policy makes room for it."""
    action: ClassVar[str] = "cloud"
    waits: ClassVar[bool] = False
    probe_tokens: ClassVar[int] = 0

    @property
    def fetches(self) -> bool:
        return self.fetch

    def replaced(self, missing: Collection[int], held: Collection[int], similarity: Tensor | None) -> None:
        return None


@dataclass(frozen=True)
class WaitForFetch:
    """A missing expert is fetched to the user's cache first, and called there.

    If the cache's eviction policy makes no room for it, it is called at the site that has all experts.
    """

    action: ClassVar[str] = "wait"
    fetches: ClassVar[bool] = True
    waits: ClassVar[bool] = True
    probe_tokens: ClassVar[int] = 0

    def replaced(self, missing: Collection[int], held: Collection[int], similarity: Tensor | None) -> None:
        return None


@dataclass(frozen=True)
class SkipMissing:
    """A missing expert is left out, and the weights of the token's other experts are scaled up to the same sum.

    A token that misses all its experts has the output zero.
    """

    fetch: bool = False
    """Fetch it to the user's cache in the background, for later tokens."""
    action: ClassVar[str] = "skip"
    waits: ClassVar[bool] = False
    probe_tokens: ClassVar[int] = 0

    @property
    def fetches(self) -> bool:
        return self.fetch

    def replaced(self, missing: Collection[int], held: Collection[int], similarity: Tensor | None) -> dict[int, int]:
        return dict.fromkeys(missing, NO_EXPERT)


@dataclass(frozen=True)
class Substitute:
    """The most similar expert of the layer that is held takes the place and the weight of a missing one.

    Similarity is the mean cosine of the outputs for random tokens. A dry run, which has no outputs, takes the held
    expert with the next number. If no expert of the layer is held, missing ones are called at the site that has all.
    """

    probe_tokens: Annotated[int, Ge(1)] = 64
    """Number of tokens with standard normal features on whose outputs experts are compared."""
    fetch: bool = False
    """Fetch the missing expert to the user's cache in the background, for later tokens."""
    action: ClassVar[str] = "substitute"
    waits: ClassVar[bool] = False

    @property
    def fetches(self) -> bool:
        return self.fetch

    def replaced(
        self, missing: Collection[int], held: Collection[int], similarity: Tensor | None
    ) -> dict[int, int] | None:
        if not held:
            return None
        if similarity is None:
            return {each: min(held, key=lambda other: (other < each, other)) for each in missing}
        return {each: max(sorted(held), key=lambda other: float(similarity[each, other])) for each in missing}


def similarities(part: Part, weights: Sequence[Parameters], probe: Tensor) -> Tensor:
    """Operation: mean cosine of the outputs of each pair of experts for the tokens `probe`, (experts, experts)."""
    outputs = F.normalize(torch.stack([part(each, probe) for each in weights]), dim=-1)
    return torch.einsum("atw,btw->ab", outputs.flatten(1, -2), outputs.flatten(1, -2)) / outputs.shape[1:-1].numel()
