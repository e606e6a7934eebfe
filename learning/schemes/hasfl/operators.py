"""What HASFL computes besides the usual steps."""

from __future__ import annotations

from torch import Tensor

from learning import steps
from learning.models import Segment

Parameters = dict[str, Tensor]


def back_gradients(
    segment: Segment, private: Parameters, common: Parameters, z: Tensor, y: Tensor
) -> tuple[Parameters, Parameters, Tensor]:
    """Gradients of a user's private copy, of the common blocks, and of the smashed data."""
    gradients, dz, _ = steps.back_gradients(segment, private | common, z, y)
    return {name: gradients[name] for name in private}, {name: gradients[name] for name in common}, dz
