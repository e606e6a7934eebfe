"""All that learning knows of a network: the few Protocols it needs. The network fits them without importing them."""

from collections.abc import Generator, Sequence
from typing import Any, Protocol

import numpy as np
import simpy

Timed = Generator[simpy.Event, Any, None]
"""What spends simulated time: use it with `yield from`; an interrupt releases whatever it holds."""


class Streams(Protocol):
    """Named random streams: a draw is a function of (seed, purpose, entity), never of order."""

    def key(self, purpose: str, *entity: int | str) -> int:
        """A 64-bit number that names the stream, seed included."""
        ...

    def generator(self, purpose: str, *entity: int | str) -> np.random.Generator:
        """A fresh generator at the beginning of the stream."""
        ...


class UserNode(Protocol):
    """A user's device: one processor, one radio, one battery."""

    @property
    def number(self) -> int: ...

    def compute(self, flops: float, kind: str, memory_bytes: int = 0) -> Timed:
        """Occupy the processor for `flops` floating-point operations."""
        ...

    def send(self, to: Any, bits: float, kind: str) -> Timed:
        """Transmit `bits` on the uplink."""
        ...


class ServerNode(Protocol):
    """The edge server behind the base stations."""

    def compute(self, flops: float, kind: str, memory_bytes: int = 0, user: int | None = None) -> Timed:
        """Queue for a slot, then occupy it for `flops` floating-point operations on behalf of `user`."""
        ...

    def send(self, to: Any, bits: float, kind: str) -> Timed:
        """Transmit `bits` to one user on the downlink."""
        ...

    def broadcast(self, to: Sequence[Any], bits: float, kind: str) -> Timed:
        """Transmit `bits` once to all of `to`, at the rate of the worst receiver."""
        ...


class Journal(Protocol):
    """Where a scheme reports what the tables need and the network cannot know."""

    @property
    def round(self) -> int: ...

    def begin_round(self, number: int) -> None: ...

    def end_round(self, participants: int, dropped: int, staleness_mean: float = 0.0) -> None: ...

    def evaluation(
        self, split: str, metric: str, value: float | None, samples: int, *, round: int, time_s: float
    ) -> None: ...

    def decision(self, user: int | None, name: str, value: float) -> None: ...
