"""The interfaces through which learning uses a network. `netsim` implements them without importing this file."""

from collections.abc import Generator, Hashable, Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import numpy as np
import simpy
from numpy.typing import NDArray

T = TypeVar("T")

Process = Generator[simpy.Event, Any, T]
"""A generator that spends simulated time and then returns a T, `result = yield from ...`.

If it is interrupted (simpy.Interrupt), it releases what it holds: processors, radios, places in queues.
"""

NO_WEIGHTS: Mapping[Hashable, float] = MappingProxyType({})

Timed = Process[None]
"""A process that returns nothing."""


class Stay(Protocol):
    """The time that a job spent at a processor."""

    @property
    def wait_s(self) -> float:
        """Waiting time in seconds, lost to other jobs."""
        ...

    @property
    def service_s(self) -> float:
        """Service time in seconds of one slot."""
        ...

    @property
    def energy_j(self) -> float | None:
        """Energy of the job in J; None without an energy model of the node."""
        ...


class Storage(Protocol):
    """Storage of named items of known sizes, with a limited capacity in bytes."""

    capacity_bytes: float
    """Capacity in bytes; infinite where it is not limited."""

    def holds(self, name: Hashable) -> bool:
        """Whether an item of this name is stored."""
        ...

    def put(self, name: Hashable, size_bytes: int) -> None:
        """Place an item, which is never evicted; it replaces an item of the same name.

        Raises ValueError if its size exceeds the free space.
        """
        ...

    def request(self, name: Hashable) -> bool:
        """Note a request for an item, for the eviction policy, and return whether it is held."""
        ...

    def victims(self, name: Hashable, size_bytes: int) -> tuple[Hashable, ...] | None:
        """Return what would be evicted for an item that is not held; None if it would not be stored."""
        ...

    def store(self, name: Hashable, size_bytes: int) -> Any:
        """Cache an item that has been requested, if the eviction policy makes room for it."""
        ...

    def drop(self, name: Hashable) -> None:
        """Delete an item. Raises ValueError if no item of this name is stored."""
        ...


class Streams(Protocol):
    """Named random streams: a draw depends on the seed, a purpose and an entity, never on the order of draws.

    `purpose` says what is drawn, such as "shuffle"; `entity` says for what, such as the number of a user and an epoch.
    """

    def key(self, purpose: str, *entity: int | str) -> int:
        """A 64-bit key of the stream, which depends on the seed too."""
        ...

    def generator(self, purpose: str, *entity: int | str) -> np.random.Generator:
        """A new generator at the beginning of the stream."""
        ...


class Channel(Protocol):
    """The uplink or downlink between a user and its station, as controllers observe and control it.

    Where the rate is Shannon's, a user that puts `power_w` into its share of the band sends
    `w * log2(1 + power_w * gain / w)` bit/s over `w = share * bandwidth_hz`, `gain` being `gain_over_noise_hz_per_w`; a
    station puts its `max_power_w` into the whole band.
    """

    @property
    def bandwidth_hz(self) -> float:
        """Bandwidth in Hz of the station's band in this direction."""
        ...

    @property
    def max_power_w(self) -> float:
        """Maximum transmit power in W: the user's on its uplink, the station's on the downlink."""
        ...

    @property
    def gain_over_noise_hz_per_w(self) -> float:
        """Power gain over the noise power spectral density, in Hz/W, on average over fading."""
        ...

    @property
    def instantaneous_gain_over_noise_hz_per_w(self) -> float:
        """Power gain over the noise power spectral density, in Hz/W, at this instant."""
        ...

    @property
    def carries_analogue(self) -> bool:
        """Whether it can carry analogue messages: not with transport blocks, and not where rates are recorded."""
        ...

    def block_bits(self, symbols: int, snr: float, error_rate: float) -> int:
        """Size in bits of the largest transport block of 5G NR in so many real symbols that fails no more often.

        It depends on the plain ratio `snr` alone, not on the rate law of the link; 0 if there is none.
        """
        ...

    def block_error_rate(self, bits: int, snr: NDArray[np.float64]) -> float:
        """Probability that a message of `bits` fails as a transport block of 5G NR in real symbols of these ratios.

        `snr` has the shape (symbols,), with 0 for symbols that are not heard.
        """
        ...

    def allocate(self, share: float | None, power_w: float | None = None) -> None:
        """Set the user's share of the band, and on the uplink its transmit power, from now on.

        Ongoing transfers are affected too.

        Args:
            share: fraction of the bandwidth; None is an equal part of what is not allocated.
            power_w: transmit power in W, uplink only; None is the maximum.

        Raises:
            ValueError: there is no such share or power left, or the scheduling policy is not `controlled`.
        """
        ...


class UserNode(Protocol):
    """A user's device on the network: a processor, a radio and a battery."""

    @property
    def number(self) -> int:
        """Number of the user, from 0."""
        ...

    @property
    def flops_per_s(self) -> float:
        """Nominal speed of the processor in FLOP/s."""
        ...

    @property
    def memory_bandwidth_bytes_per_s(self) -> float | None:
        """Rate in byte/s at which the processor reads weights from memory; None if that takes no time."""
        ...

    @property
    def memory_bytes(self) -> float | None:
        """Memory of the device in bytes; None if it is not limited."""
        ...

    @property
    def uplink(self) -> Channel:
        """From the user to its station."""
        ...

    @property
    def downlink(self) -> Channel:
        """From its station to the user."""
        ...

    @property
    def away(self) -> bool:
        """Whether the device is unavailable now."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the device is unavailable for the rest of the run."""
        ...

    def exclude(self, cause: str) -> None:
        """Make the device unavailable for the rest of the run; `cause` is noted in the table `outages`."""
        ...

    @property
    def back(self) -> simpy.Event:
        """Happens when a device that is unavailable returns, or is gone for good."""
        ...

    def attend(self, work: Process[T]) -> Process[T]:
        """Run work that needs the device, and return its result.

        simpy.Interrupt is raised in it when the device becomes unavailable, or at once if it is. `compute` and `send`
        of this device, and messages to it, behave so by themselves.
        """
        ...

    def compute(
        self, flops: float, kind: str, memory_bytes: int = 0, weights_bytes: Mapping[Hashable, float] = NO_WEIGHTS
    ) -> Process[Stay]:
        """Queue for the processor, then occupy it for a job.

        Args:
            flops: floating-point operations of the job.
            kind: what it is called in the table `computations`.
            memory_bytes: memory that it takes, for that table.
            weights_bytes: bytes of each set of weights that it reads, by name; equal names are the same set.
        """
        ...

    def backhaul_s(self, to: Any, bits: float) -> float:
        """Time in s that a message of `bits` takes on idle lines between the user's station and a server, either way.

        Radio links are not included.
        """
        ...

    def send(self, to: Any, bits: float, kind: str) -> Timed:
        """Transmit `bits` to a server on the uplink; `kind` is the message's name in the table `transfers`."""
        ...

    def send_analogue(self, to: Any, symbols: float, kind: str) -> Process[float]:
        """Transmit uncoded symbols to a server on the uplink; returns the SNR, averaged over the airtime."""
        ...


class Heard(Protocol):
    """Consecutive symbols of a stream that a user has heard at one signal-to-noise ratio."""

    @property
    def station(self) -> str:
        """Name of the station that transmitted them."""
        ...

    @property
    def first(self) -> float:
        """Number of symbols of the stream that the station had transmitted before."""
        ...

    @property
    def symbols(self) -> float:
        """Number of symbols; a reception that ends early can end within a symbol."""
        ...

    @property
    def snr(self) -> float:
        """Ratio of received power to noise and interference, as a plain ratio."""
        ...


class SymbolBroadcast(Protocol):
    """A message as a stream of modulated symbols, to which each of its users listens by itself."""

    def hear(self, user: Any, symbols: float) -> Process[Sequence[Heard]]:
        """Listen to so many symbols from now on; returns what was heard, less if the stream or the energy ends first.

        It raises simpy.Interrupt as `send` does.
        """
        ...

    def end(self) -> None:
        """End the stream."""
        ...


class ServerNode(Protocol):
    """A server at a station, in the core network or on a user's device."""

    @property
    def flops_per_s(self) -> float:
        """Nominal speed of each of its slots in FLOP/s."""
        ...

    @property
    def memory_bandwidth_bytes_per_s(self) -> float | None:
        """Rate in byte/s at which each of its slots reads weights from memory; None if that takes no time."""
        ...

    @property
    def name(self) -> str:
        """Its name in the tables."""
        ...

    @property
    def storage(self) -> Storage:
        """Its store of named contents."""
        ...

    @property
    def backlog_s(self) -> float:
        """Work of the jobs that wait or are served, in seconds of all its slots at nominal speed."""
        ...

    @property
    def away(self) -> bool:
        """Whether it is unavailable now."""
        ...

    @property
    def gone(self) -> bool:
        """Whether it is unavailable for the rest of the run."""
        ...

    @property
    def back(self) -> simpy.Event:
        """Happens when a server that is unavailable returns, or is gone for good."""
        ...

    def is_on(self, user: Any) -> bool:
        """Whether it is on this user's device, so that the user reaches it without a message."""
        ...

    def compute(
        self,
        flops: float,
        kind: str,
        memory_bytes: int = 0,
        user: int | None = None,
        weights_bytes: Mapping[Hashable, float] = NO_WEIGHTS,
    ) -> Process[Stay]:
        """Queue for a slot, then occupy it for a job on behalf of user number `user`; else as in `UserNode`."""
        ...

    def send(self, to: Any, bits: float, kind: str) -> Timed:
        """Transmit `bits` to one user on the downlink; `kind` is the message's name in the table `transfers`."""
        ...

    def forward(self, to: Any, bits: float, kind: str, users: Sequence[int]) -> Timed:
        """Transmit `bits` once to another server, on behalf of the users of these numbers."""
        ...

    def broadcast(self, to: Sequence[Any], bits: float, kind: str) -> Process[Sequence[Any]]:
        """Transmit `bits` once to those of `to` that are available; returns those that received all of it."""
        ...

    def broadcast_rateless(
        self, to: Sequence[Any], bits: float, kind: str, deadline_s: float = inf
    ) -> Mapping[Any, Process[bool]]:
        """Transmit `bits` as one rateless-coded stream, which ends `deadline_s` seconds after the first user listens.

        Each of `to` runs its own process to listen: it ends when that user has received all bits (True), or the stream
        has ended before (False). It raises simpy.Interrupt as `send` does.
        """
        ...

    def broadcast_symbols(
        self,
        to: Sequence[Any],
        bits: float,
        kind: str,
        deadline_s: float = inf,
        max_energy_j: float = inf,
        steady: bool = False,
    ) -> SymbolBroadcast:
        """Transmit a message of `bits` bits as one stream of modulated symbols, as many to each receiver as it wants.

        The stream ends `deadline_s` seconds after the first user listens. The radio of each may spend `max_energy_j`
        joules on listening. It is on the air while a user listens, or if `steady` from then on until it ends.
        """
        ...
