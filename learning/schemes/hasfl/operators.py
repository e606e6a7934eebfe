"""Operations of HASFL besides the common training steps."""

from __future__ import annotations

from torch import Tensor

from learning import steps
from learning.models import Segment

Parameters = dict[str, Tensor]


def back_gradients(
    segment: Segment, private: Parameters, common: Parameters, z: Tensor, y: Tensor
) -> tuple[Parameters, Parameters, Tensor]:
    """Gradients of the loss at the server.

    Args:
        segment: the server's part of the user's model.
        private: parameters of the user's private copy.
        common: parameters of the common blocks.
        z: smashed data, (samples, ...).
        y: labels, (samples,).

    Returns:
        The gradients of private copy, common blocks and smashed data.
    """
    gradients, dz, _ = steps.back_gradients(segment, private | common, z, y)
    return {name: gradients[name] for name in private}, {name: gradients[name] for name in common}, dz
