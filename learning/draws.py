"""Random tensors by name: inputs of operations whose values are drawn when an operation runs."""

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from learning.executor.deferred import Leaf
from learning.ports import Streams

_NUMPY: dict[torch.dtype, type[np.float32] | type[np.float64]] = {torch.float32: np.float32, torch.float64: np.float64}


@dataclass(frozen=True)
class Draw(Leaf):
    """A tensor of independent uniform numbers in [0, 1) from the stream (seed, purpose, *entity).

    Equal names give equal tensors whatever was drawn before; draws are equal if their names, shapes and dtypes are.
    Raises ValueError for a dtype other than float32 and float64.
    """

    streams: Streams = field(compare=False, repr=False)
    """The run's random streams, which know its seed."""
    purpose: str
    """What is drawn, such as "dropout"."""
    entity: tuple[int | str, ...]
    """For whom and when, such as numbers of user and round."""
    shape: tuple[int, ...]
    """Shape of the tensor."""
    dtype: torch.dtype = torch.float32
    """Number format of the tensor."""
    key: int = field(init=False, repr=False)
    """Number of the stream, a hash of its name with the seed."""

    def __post_init__(self) -> None:
        if self.dtype not in _NUMPY:
            raise ValueError(f"uniform numbers are drawn as float32 or float64, not as {self.dtype}")
        object.__setattr__(self, "key", self.streams.key(self.purpose, *self.entity))  # the seed is part of the name

    @property
    def meta(self) -> Tensor:
        """A meta tensor of the same shape and dtype."""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")

    @property
    def identity(self) -> bytes:
        """Digest of the seed and the name of the stream, 16 bytes."""
        name = f"{self.key} {self.purpose} {self.entity}"
        return blake2b(name.encode(), digest_size=16).digest()

    def tensor(self) -> Tensor:
        """Draw the numbers: a CPU tensor."""
        generator = self.streams.generator(self.purpose, *self.entity)
        return torch.from_numpy(generator.random(self.shape, dtype=_NUMPY[self.dtype]))


def standard_normal(u: Tensor) -> Tensor:
    """Standard normal numbers made of uniform numbers in [0, 1), in the same shape."""
    normal: Tensor = torch.special.ndtri(u.clamp(min=torch.finfo(torch.float32).tiny))
    return normal
