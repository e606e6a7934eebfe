"""Initial parameters, each drawn from a stream with the parameter's name."""

import numpy as np
import torch
from torch import Tensor, nn

from learning.models.norm import GroupNorm
from learning.models.vit import ClassToken, Position
from learning.ports import Streams


def draw_parameter(streams: Streams, name: str, owner: nn.Module, dtype: torch.dtype) -> Tensor:
    """Draw the parameter `name` (whole-model name, such as "3.weight") of the module `owner` that holds it.

    Linear and convolution, weight and bias: uniform in +-1/sqrt(fan_in), which is torch's default. Normalisation: ones
    and zeros. Embeddings of positions and tokens, class token: normal with standard deviation 0.02 (ViT, arXiv
    2010.11929). Raises TypeError for a module that has no rule.
    """
    field = name.rpartition(".")[2]
    shape = tuple(owner.get_parameter(field).shape)
    if isinstance(owner, nn.Linear | nn.Conv2d):
        bound = owner.weight[0].numel() ** -0.5
        values = streams.generator("initial", name).uniform(-bound, bound, shape)
    elif isinstance(owner, GroupNorm | nn.GroupNorm | nn.LayerNorm):
        values = np.full(shape, 1.0 if field == "weight" else 0.0)
    elif isinstance(owner, Position | ClassToken | nn.Embedding) or field in ("cls_token", "position_embeddings"):
        values = streams.generator("initial", name).normal(0.0, 0.02, shape)
    else:
        raise TypeError(f"no rule to initialise the parameter {name} of a {type(owner).__name__}")
    return torch.from_numpy(values).to(dtype)
