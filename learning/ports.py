"""All that learning knows of a network: the few Protocols it needs. The network fits them without importing them."""

from collections.abc import Generator, Hashable, Mapping, Sequence
from math import inf
from typing import Any, Protocol, TypeVar

import numpy as np
import simpy

T = TypeVar("T")

Process = Generator[simpy.Event, Any, T]
"""What spends simulated time and then returns a T: `result = yield from ...`; an interrupt releases what it holds."""

Timed = Process[None]
"""What spends simulated time and returns nothing."""


class Stay(Protocol):
    """How long a job was at a processor."""

    @property
    def wait_s(self) -> float:
        """Seconds lost to other jobs."""
        ...

    @property
    def service_s(self) -> float:
        """Seconds of one slot that it got."""
        ...


class Storage(Protocol):
    """Named contents of known sizes in a space of limited bytes."""

    def holds(self, name: Hashable) -> bool:
        """Return whether there is a content of this name."""
        ...

    def put(self, name: Hashable, size_bytes: int) -> None:
        """Store a content, or replace the one of the same name. Raises ValueError if there is not so much space."""
        ...

    def drop(self, name: Hashable) -> None:
        """Delete a content. Raises ValueError if there is none of this name."""
        ...


class Streams(Protocol):
    """Named random streams: a draw is a function of (seed, purpose, entity), never of order."""

    def key(self, purpose: str, *entity: int | str) -> int:
        """A 64-bit number that names the stream, seed included."""
        ...

    def generator(self, purpose: str, *entity: int | str) -> np.random.Generator:
        """A fresh generator at the beginning of the stream."""
        ...


class Channel(Protocol):
    """One direction between a user and its station, as a controller sees and sets it.

    Where the rate is Shannon's, a user that puts `power_w` into its share of the band sends
    `w * log2(1 + power_w * gain / w)` bit/s over `w = share * bandwidth_hz`, `gain` being `gain_over_noise_hz_per_w`; a
    station puts its `max_power_w` into the whole band.
    """

    @property
    def bandwidth_hz(self) -> float:
        """Width of the station's band in this direction."""
        ...

    @property
    def max_power_w(self) -> float:
        """What the sender can radiate: the user on its uplink, the station on the downlink."""
        ...

    @property
    def gain_over_noise_hz_per_w(self) -> float:
        """Power gain over noise power density, on average over fading."""
        ...

    @property
    def instantaneous_gain_over_noise_hz_per_w(self) -> float:
        """The same at this instant."""
        ...

    def allocate(self, share: float | None, power_w: float | None = None) -> None:
        """From now on, transfers under way included: part of the band, and on the uplink the power radiated there.

        None is an equal part of what others leave over, and all the power. Raises ValueError if that cannot be, or
        where the scenario's scheduling policy is not `controlled`.
        """
        ...


class UserNode(Protocol):
    """A user's device: one processor, one radio, one battery."""

    @property
    def number(self) -> int: ...

    @property
    def flops_per_s(self) -> float:
        """Nominal speed of the processor."""
        ...

    @property
    def memory_bytes(self) -> float | None:
        """What the device can hold; None where nothing limits it."""
        ...

    @property
    def uplink(self) -> Channel: ...

    @property
    def downlink(self) -> Channel: ...

    @property
    def away(self) -> bool:
        """Whether the device is not there."""
        ...

    @property
    def gone(self) -> bool:
        """Whether it will never be there again."""
        ...

    def leave_out(self, cause: str) -> None:
        """The device takes no part in the run: it is away from now on, and for ever."""
        ...

    @property
    def back(self) -> simpy.Event:
        """Happens when a device that is away returns, or is gone for ever."""
        ...

    def attend(self, work: Process[T]) -> Process[T]:
        """Do work that needs the device: simpy.Interrupt is raised in it when the device goes away, or if it is.

        `compute` and `send`, here and to a user, do the same of themselves.
        """
        ...

    def compute(self, flops: float, kind: str, memory_bytes: int = 0) -> Process[Stay]:
        """Occupy the processor for `flops` floating-point operations."""
        ...

    def send(self, to: Any, bits: float, kind: str) -> Timed:
        """Transmit `bits` on the uplink."""
        ...


class ServerNode(Protocol):
    """A server behind the base stations."""

    @property
    def flops_per_s(self) -> float:
        """Nominal speed of each of its slots."""
        ...

    @property
    def name(self) -> str:
        """Its name in the tables."""
        ...

    @property
    def storage(self) -> Storage:
        """What it holds."""
        ...

    def is_on(self, user: Any) -> bool:
        """Return whether it is on this user's device, so that the user reaches it without a message."""
        ...

    def compute(self, flops: float, kind: str, memory_bytes: int = 0, user: int | None = None) -> Process[Stay]:
        """Queue for a slot, then occupy it for `flops` floating-point operations on behalf of `user`."""
        ...

    def send(self, to: Any, bits: float, kind: str) -> Timed:
        """Transmit `bits` to one user on the downlink."""
        ...

    def forward(self, to: Any, bits: float, kind: str, users: Sequence[int]) -> Timed:
        """Transmit `bits` once to another server, on behalf of these users."""
        ...

    def broadcast(self, to: Sequence[Any], bits: float, kind: str) -> Process[Sequence[Any]]:
        """Transmit `bits` once to all of `to` that are there; returns those that got all of it."""
        ...

    def broadcast_rateless(
        self, to: Sequence[Any], bits: float, kind: str, deadline_s: float = inf
    ) -> Mapping[Any, Process[bool]]:
        """Transmit `bits` as one rateless-coded stream, which ends `deadline_s` seconds after the first one listens.

        Each of `to` runs its own process to listen: it ends when that user has received all bits (True), or the stream
        has ended before (False). It raises simpy.Interrupt as `send` does.
        """
        ...


class Journal(Protocol):
    """Where a scheme reports what the tables need and the network cannot know."""

    @property
    def round(self) -> int: ...

    def begin_round(self, number: int) -> None: ...

    def local_round(self, user: int) -> int:
        """The user's own round, after which its draws are named: the server's, unless it goes on by itself."""
        ...

    def begin_local_round(self, user: int, number: int) -> None:
        """From now on the user goes on by itself, and begins its local round `number`."""
        ...

    def end_round(self, participants: int, dropped: int, staleness_mean: float = 0.0) -> None: ...

    def evaluation(
        self, split: str, metric: str, value: float | None, samples: int, *, round: int, time_s: float
    ) -> None: ...

    def decision(self, user: int | None, name: str, value: float) -> None: ...

    def expert_call(
        self,
        *,
        user: int,
        layer: int,
        expert: int,
        node: str,
        kind: str,
        tokens: int,
        bits_up: float,
        bits_down: float,
        round: int,
        start_s: float,
        wait_s: float | None,
        service_s: float | None,
        hit: bool,
        interrupted: bool,
    ) -> None:
        """A call of an expert is over now, done or given up; the arguments are columns of the table `expert_calls`."""
        ...
