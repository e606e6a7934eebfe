"""Named random streams for the tests of learning: no network needed."""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class NamedStreams:
    """A draw is a function of (seed, purpose, entity). Two of them are never equal, so nothing may compare streams."""

    seed: int = 0

    def key(self, purpose: str, *entity: int | str) -> int:
        name = repr((self.seed, purpose, entity)).encode()
        return int.from_bytes(hashlib.sha256(name).digest()[:8])

    def generator(self, purpose: str, *entity: int | str) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=self.key(purpose, *entity)))
