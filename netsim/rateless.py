"""Rateless broadcast: one coded stream on the air, and every receiver listens until it has accumulated all bits.

A rateless code generates an unlimited number of coded bits, so a receiver has the message as soon as the mutual
information that it has received, at the rate of its own link, reaches the size of the message: Castura and Mao,
Rateless Coding over Fading Channels, IEEE Communications Letters 10(1), 2006; Draper, Liu, Molisch and Yedidia,
Cooperative Transmission for Wireless Networks Using Mutual-Information Accumulation, IEEE Transactions on Information
Theory 57(8), 2011.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import simpy

from netsim.instants import GIVE_UP, After
from netsim.process import Process
from netsim.radio.device import Radio
from netsim.transfer import AirInterface


class RatelessStream:
    """A message to several receivers at one station, each of which ends independently; a late receiver can still join.

    For the scheduler of the band the stream is one transmission, as an ordinary broadcast is, to the receivers that
    still listen. It ends when the last of them has ended. A receiver that is handed over receives the missing bits at
    its next station, which then transmits a stream of the same message.
    """

    def __init__(
        self,
        air: AirInterface,
        bits: float,
        kind: str,
        receivers: int,
        deadline_s: float,
        fetch: Callable[[], Process[None]],
    ) -> None:
        """Prepare a stream; it starts when the first receiver listens.

        Args:
            air: the downlink of the station.
            bits: size of the message.
            kind: kind of payload, for the table `transfers`.
            receivers: number of receivers, which share the bits on the air equally in the table.
            deadline_s: seconds from the first request of a receiver after which the stream ends; inf is never.
            fetch: process that brings the message to the station, once for all receivers.
        """
        self.env, self.air, self.bits, self.kind = air.env, air, bits, kind
        self.receivers, self.deadline_s = receivers, deadline_s
        self._fetch = fetch
        self._fetching: simpy.Process | None = None
        self._waiting = 0  # receivers that wait until the station has the message
        self._over: simpy.Event | None = None

    def receive(self, radio: Radio) -> Process[bool]:
        """Listen until all bits are received.

        Args:
            radio: downlink radio of the receiver.

        Returns:
            True if all bits were received before the deadline, False if the stream ended first.

        Raises:
            simpy.Interrupt: the receiver was interrupted, or its radio link failed.
        """
        if self.deadline_s == inf:
            yield from self._listen(radio)
            return True
        if self._over is None:
            self._over = After(self.env, self.env.now + self.deadline_s, GIVE_UP)
        if self._over.processed:
            return False
        listening = self.env.process(_interrupt_of(self._listen(radio)))
        try:
            yield listening | self._over
        except simpy.Interrupt as interrupt:
            if listening.is_alive:
                listening.interrupt(interrupt.cause)
                yield listening
            raise
        if listening.is_alive:
            listening.interrupt("the stream is over")
            yield listening
            return False
        if listening.value is not None:
            raise listening.value
        return True

    def _listen(self, radio: Radio) -> Process[None]:
        yield from self._fetched()
        yield from self.air.transfer(radio, self.bits, self.kind, stream=self, receivers=self.receivers)

    def _fetched(self) -> Process[None]:
        """Wait until the station has the message. If no receiver waits any more, fetching is interrupted."""
        if self._fetching is None:
            self._fetching = self.env.process(_interrupt_of(self._fetch()))
        fetching = self._fetching
        self._waiting += 1
        try:
            failed: simpy.Interrupt | None = yield fetching
        except simpy.Interrupt:
            if self._waiting == 1 and fetching.is_alive:
                fetching.interrupt("no receiver is left")
                self._fetching = None
            raise
        finally:
            self._waiting -= 1
        if failed is not None:
            raise failed


def _interrupt_of(work: Process[None]) -> Process[simpy.Interrupt | None]:
    """Do some work; returns the interrupt that ended it, or None if it is complete."""
    try:
        yield from work
    except simpy.Interrupt as interrupt:
        return interrupt
    return None
