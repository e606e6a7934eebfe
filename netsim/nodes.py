"""Users and the edge server: what spends simulated time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import simpy

from netsim.processor import Processor, Timed
from netsim.transfer import AirInterface, Radio


@dataclass(eq=False)
class Station:
    """A base station; the edge server is behind all of them."""

    number: int
    uplink: AirInterface
    downlink: AirInterface


@dataclass(eq=False)
class User:
    """A user's device: one processor, one radio, one energy meter."""

    number: int
    station: Station
    processor: Processor
    uplink: Radio
    downlink: Radio
    samples: int | None = field(default=None, init=False)
    """Training samples, told by whoever deals out the data; for the `users` table alone."""

    @property
    def flops_per_s(self) -> float:
        """Nominal speed."""
        return self.processor.flops_per_s

    def compute(self, flops: float, kind: str, memory_bytes: int = 0) -> Timed:
        """Occupy the processor, first come first served, for as long as its speed and slowdown say."""
        yield from self.processor.compute(flops, kind, memory_bytes, self.number)

    def send(self, to: Server, bits: float, kind: str) -> Timed:
        """Transmit `bits` on the uplink to the station, and so to the server."""
        yield from self.station.uplink.transfer([self.uplink], bits, kind)


@dataclass(eq=False)
class Server:
    """The edge server: a queue before slots, reached over every station at no further cost."""

    env: simpy.Environment
    processor: Processor

    @property
    def flops_per_s(self) -> float:
        """Nominal speed of each slot."""
        return self.processor.flops_per_s

    def compute(self, flops: float, kind: str, memory_bytes: int = 0, user: int | None = None) -> Timed:
        """Queue for a slot and hold it for the job, on behalf of `user` or of nobody."""
        yield from self.processor.compute(flops, kind, memory_bytes, user)

    def send(self, to: User, bits: float, kind: str) -> Timed:
        """Transmit `bits` to one user on its station's downlink."""
        yield from to.station.downlink.transfer([to.downlink], bits, kind)

    def broadcast(self, to: Sequence[User], bits: float, kind: str) -> Timed:
        """Transmit `bits` once a station to all its users among `to`, at the rate of the worst, block by block.

        Over when every station is done.
        """
        cells: dict[Station, list[Radio]] = {}
        for user in to:
            cells.setdefault(user.station, []).append(user.downlink)
        if len(cells) == 1:
            (station,) = cells
            yield from station.downlink.transfer(cells[station], bits, kind)
            return
        yield from self._together([cell.downlink.transfer(radios, bits, kind) for cell, radios in cells.items()])

    def _together(self, works: Sequence[Timed]) -> Timed:
        processes = [self.env.process(_until_interrupted(work)) for work in works]
        try:
            yield self.env.all_of(processes)
        except simpy.Interrupt as interrupt:
            running = [process for process in processes if process.is_alive]
            for process in running:
                process.interrupt(interrupt.cause)
            yield self.env.all_of(running)  # at this very instant
            raise


def _until_interrupted(work: Timed) -> Timed:
    try:
        yield from work
    except simpy.Interrupt:
        return  # whoever started it was interrupted, and passes that on
