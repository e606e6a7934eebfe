"""Initial parameters, each drawn from a stream with the parameter's name."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from learning.models.norm import GroupNorm
from learning.models.recurrent import Cell
from learning.models.vit import ClassToken, Position
from learning.ports import Streams

NORMS = GroupNorm | nn.GroupNorm | nn.LayerNorm | nn.RMSNorm | _NormBase
NORMAL = Position | ClassToken | nn.Embedding
NAMED = "cls_token", "position_embeddings"
"""Names of parameters of the library transformers that are normal, too."""


@runtime_checkable
class Drawn(Protocol):
    """A module that draws its own initial parameters."""

    def draw(self, field: str, generator: np.random.Generator) -> ArrayLike:
        """Initial values of its parameter `field`, in the shape of that, from `generator` alone."""
        ...


def has_rule(owner: nn.Module, field: str) -> bool:
    """Whether `draw_parameter` has a rule for the parameter `field` of a module."""
    ruled = nn.Linear | _ConvNd | Cell | nn.MultiheadAttention | nn.PReLU | NORMS | NORMAL | Drawn
    return isinstance(owner, ruled) or field in NAMED


def draw_parameter(streams: Streams, name: str, owner: nn.Module, dtype: torch.dtype) -> Tensor:
    """Draw the parameter `name` (whole-model name, such as "3.weight") of the module `owner` that holds it.

    Linear and convolution, weight and bias: uniform in +-1/sqrt(fan_in), which is torch's default, as the others are:
    recurrent layers, uniform in +-1/sqrt(hidden); the joint projection of an attention, uniform in
    +-sqrt(6 / (inputs + outputs)); PReLU, 0.25; normalisation, ones and zeros. Embeddings of positions and tokens,
    class token: normal with standard deviation 0.02 (ViT, arXiv 2010.11929). A module with a method `draw` draws its
    own. Raises TypeError for a module that has no rule.
    """
    field = name.rpartition(".")[2]
    shape = tuple(owner.get_parameter(field).shape)
    if isinstance(owner, Drawn):
        return torch.as_tensor(owner.draw(field, streams.generator("initial", name))).reshape(shape).to(dtype)
    if isinstance(owner, nn.Linear | _ConvNd):
        bound = owner.weight[0].numel() ** -0.5
        values = streams.generator("initial", name).uniform(-bound, bound, shape)
    elif isinstance(owner, Cell):
        values = streams.generator("initial", name).uniform(-(owner.hidden**-0.5), owner.hidden**-0.5, shape)
    elif isinstance(owner, nn.MultiheadAttention):
        bound = (6 / sum(shape)) ** 0.5 if len(shape) == 2 else 0.0
        values = streams.generator("initial", name).uniform(-bound, bound, shape)
    elif isinstance(owner, NORMS):
        values = np.full(shape, 1.0 if field == "weight" else 0.0)
    elif isinstance(owner, nn.PReLU):
        values = np.full(shape, 0.25)
    elif isinstance(owner, NORMAL) or field in NAMED:
        values = streams.generator("initial", name).normal(0.0, 0.02, shape)
    else:
        raise TypeError(f"no rule to initialise the parameter {name} of a {type(owner).__name__}")
    return torch.from_numpy(values).to(dtype)
