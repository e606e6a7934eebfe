"""Models with experts of which some take part in the backward pass, and the others in the forward pass alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from learning.models.experts import MixtureOfExperts


class SelectiveBackward(nn.Sequential):
    """Blocks whose backward pass goes through some of the experts only: the others' outputs are constants to it."""

    def forward(self, x: Any, active: Tensor | bool = True) -> Any:
        """The output, as without `active`, which decides about gradients alone.

        An expert that is not active gets no gradient and passes none to its input; its gate still gets one.

        Args:
            x: samples or activations, (batch, *shape before the blocks).
            active: (layers, count), boolean: which experts of the layers with experts are active; a bool for all.

        Raises:
            ValueError: none of the blocks has experts.
        """
        mixtures = [module for module in self.modules() if isinstance(module, MixtureOfExperts)]
        if not mixtures:
            raise ValueError("none of the blocks has experts")
        hooks = [
            expert.register_forward_hook(
                partial(_constant_unless, active if isinstance(active, bool) else active[i, e])
            )
            for i, mixture in enumerate(mixtures)
            for e, expert in enumerate(mixture.experts)
        ]
        try:
            return super().forward(x)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        finally:
            for hook in hooks:
                hook.remove()


def _constant_unless(active: Tensor | bool, _: nn.Module, __: Any, output: Tensor) -> Tensor:
    if isinstance(active, bool):
        return output if active else output.detach()
    return torch.where(active, output, output.detach())
