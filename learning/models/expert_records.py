"""What layers with experts compute of their tokens, recorded on the way: for statistics and for losses of gates."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from learning.models.experts import MixtureOfExperts, routed


class ExpertRecord(NamedTuple):
    """What a layer with experts computed of its tokens."""

    inputs: Tensor
    """The tokens, (..., width)."""
    probabilities: Tensor
    """The gate's softmax over all experts, (..., count)."""
    ids: Tensor
    """Numbers of the chosen experts, the best first, (..., top_k), int64."""
    outputs: tuple[Tensor, ...]
    """The output of each expert for all tokens, (..., width); on meta tensors for its share of the pairs of token and
    expert alone, (share, width)."""


class Recorded(nn.Sequential):
    """Blocks that also return what their layers with experts computed.

    The records are taken on the way: nothing is computed twice, and gradients flow through them.
    """

    def forward(self, x: Any) -> tuple[Any, dict[str, ExpertRecord]]:
        """The output of the blocks, and the record of each mixture of experts by its name, such as "1.feed.1"."""
        mixtures = {name: each for name, each in self.named_modules() if isinstance(each, MixtureOfExperts)}
        inputs, logits = dict[str, Tensor](), dict[str, Tensor]()
        outputs: dict[str, list[Tensor]] = {name: [] for name in mixtures}

        def see_gate(name: str, _: nn.Module, given: tuple[Tensor], result: Tensor) -> None:
            inputs[name], logits[name] = given[0], result

        def see_expert(name: str, _: nn.Module, __: tuple[Tensor], result: Tensor) -> None:
            outputs[name].append(result)

        hooks = [mixture.gate.register_forward_hook(partial(see_gate, name)) for name, mixture in mixtures.items()]
        hooks += [
            expert.register_forward_hook(partial(see_expert, name))
            for name, mixture in mixtures.items()
            for expert in mixture.experts
        ]
        try:
            out = super().forward(x)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        finally:
            for hook in hooks:
                hook.remove()
        return out, {
            name: ExpertRecord(inputs[name], *routed(mixture.described, logits[name]), tuple(outputs[name]))
            for name, mixture in mixtures.items()
        }


class ExpertOutputs(nn.Sequential):
    """Blocks that return what each of their experts makes of given tokens, without a gate."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs for tokens x (..., width), in their shape, by name, such as "1.feed.1.experts.0.output"."""
        mixtures = {name: each for name, each in self.named_modules() if isinstance(each, MixtureOfExperts)}
        return {
            f"{name}.experts.{number}.output": expert(x)
            for name, mixture in mixtures.items()
            for number, expert in enumerate(mixture.experts)
        }
