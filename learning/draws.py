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
    """Independent uniform numbers in [0, 1), one an element, from the stream (seed, purpose, *entity).

    Equal names give equal tensors whatever was drawn before, and draws are equal if their names, shapes and dtypes are.
    Raises ValueError for a dtype other than float32 and float64.
    """

    streams: Streams = field(compare=False, repr=False)
    purpose: str
    entity: tuple[int | str, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    key: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.dtype not in _NUMPY:
            raise ValueError(f"uniform numbers are drawn as float32 or float64, not as {self.dtype}")
        object.__setattr__(self, "key", self.streams.key(self.purpose, *self.entity))  # the seed is part of the name

    @property
    def meta(self) -> Tensor:
        """Shape and dtype, without values."""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")

    @property
    def identity(self) -> bytes:
        """Seed and name of the stream."""
        name = f"{self.key} {self.purpose} {self.entity}"
        return blake2b(name.encode(), digest_size=16).digest()

    def tensor(self) -> Tensor:
        """The numbers."""
        generator = self.streams.generator(self.purpose, *self.entity)
        return torch.from_numpy(generator.random(self.shape, dtype=_NUMPY[self.dtype]))
