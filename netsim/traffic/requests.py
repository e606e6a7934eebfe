"""Requests at work: uplink, computation at the server, downlink, until served, refused, timed out or lost."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

import simpy

from netsim.description import RequestStream, TrafficDescription
from netsim.instants import ARRIVE, GIVE_UP, After, reached
from netsim.network import Network
from netsim.nodes import UserNode
from netsim.process import Process
from netsim.queueing import QueueFull
from netsim.tables import RequestRow
from netsim.traffic.arrivals import Arrival
from netsim.traffic.draws import uniform_draws

TIMED_OUT = "timed out"
"""Cause of the interrupt of a request at its timeout."""

Outcome = Process[str]
"""A process that returns the outcome of a request: served, refused, timed_out or lost."""


class Traffic:
    """The request streams of a scenario, at work in a network."""

    def __init__(self, network: Network, traffic: TrafficDescription) -> None:
        """Prepare the streams; `run` runs them.

        Args:
            network: users and servers.
            traffic: the section `traffic` of the scenario.

        Raises:
            ValueError: a stream does not fit the users; the message is one sentence.
        """
        self.network, self.env, self.duration_s = network, network.env, traffic.duration_s
        self.until_s = inf if traffic.duration_s is None else traffic.duration_s
        """Simulated time in seconds from which no more requests are made."""
        self.ongoing: dict[simpy.Event, None] = {}  # an ordered set
        """Processes of the ongoing requests, in order of arrival."""
        self._sources: list[Source] = []
        for name, stream in traffic.streams.items():
            network.journal.request_kinds.add(f"request_{name}")
            self._sources += self._of_stream(name, stream)

    def _of_stream(self, name: str, stream: RequestStream) -> Iterator[Source]:
        users = self.network.users
        numbers = range(len(users)) if stream.users is None else stream.users
        for number in numbers:
            if number >= len(users):
                raise ValueError(f"stream {name} names user {number}; there are {len(users)}, from 0")
        arrivals = stream.arrivals.of_users(numbers, len(users), self.network.streams, name)
        for number, own in zip(numbers, arrivals, strict=True):
            yield Source(self, name, stream, users[number], own)

    def run(self, scheme: Process[Any] | None) -> Process[None]:
        """Make requests until `duration_s`, or without it until the scheme ends, and run the scheme meanwhile.

        Args:
            scheme: the process of learning; None is no learning.

        Returns:
            A process that ends when the scheme, the duration and all requests have ended.
        """
        for source in self._sources:
            self.env.process(source.run())
        if scheme is not None:
            yield from scheme
        if self.duration_s is None:
            self.until_s = self.env.now
        elif self.env.now < self.duration_s:
            yield self.env.timeout(self.duration_s - self.env.now)
        while self.ongoing:
            yield self.env.all_of(list(self.ongoing))
        self.network.journal.end_traffic()

    def finished(self, request: simpy.Event) -> None:
        """Remove the process of a request that has ended."""
        del self.ongoing[request]


class Source:
    """The source of one user's requests of one stream."""

    def __init__(
        self, traffic: Traffic, name: str, stream: RequestStream, user: UserNode, arrivals: Iterator[Arrival]
    ) -> None:
        self.traffic, self.name, self.stream, self.user, self.arrivals = traffic, name, stream, user, arrivals
        self.env = traffic.env
        self.kind = f"request_{name}"

    def run(self) -> Process[None]:
        """Start a request at each arrival until the traffic ends."""
        streams, number = self.traffic.network.streams, self.user.number
        keys = [streams.key("request", self.name, what, number) for what in ("uplink_bits", "flops", "downlink_bits")]
        chances = zip(*map(uniform_draws, keys), strict=True)
        for request, (arrival, drawn) in enumerate(zip(self.arrivals, chances, strict=False)):
            if reached(self.traffic.until_s, arrival.instant_s):
                return
            yield After(self.env, arrival.instant_s, ARRIVE)
            if self.env.now >= self.traffic.until_s:
                return
            process = self.env.process(self._request(request, arrival, drawn))
            process.callbacks.append(self.traffic.finished)
            self.traffic.ongoing[process] = None

    def _request(self, number: int, arrival: Arrival, chances: tuple[float, ...]) -> Process[None]:
        laws = (self.stream.uplink_bits, self.stream.flops, self.stream.downlink_bits)
        known = (arrival.uplink_bits, arrival.flops, arrival.downlink_bits)
        sizes = zip(known, laws, chances, strict=True)
        request = Request(self, *(law.size(number, chance) if size is None else size for size, law, chance in sizes))
        arrival_s = self.env.now
        outcome = (
            yield from request.serve() if self.stream.timeout_s is None else request.serve_within(self.stream.timeout_s)
        )
        self.traffic.network.journal.requested(
            RequestRow(
                user=self.user.number,
                node=request.server.processor.node,
                stream=self.name,
                number=number,
                arrival_s=arrival_s,
                start_s=request.start_s,
                end_s=self.env.now,
                latency_s=self.env.now - arrival_s,
                bits=request.uplink_bits + request.downlink_bits,
                flops=request.flops,
                outcome=outcome,
            )
        )


class Request:
    """One request and its answer."""

    def __init__(self, source: Source, uplink_bits: float, flops: float, downlink_bits: float) -> None:
        self.source = source
        self.uplink_bits, self.flops, self.downlink_bits = uplink_bits, flops, downlink_bits
        network, user = source.traffic.network, source.user
        self.server = network.server_of(user) if source.stream.at == "nearest" else network.server
        self.start_s: float | None = None
        """Simulated time in seconds at which the request reached the server; None before."""

    def serve_within(self, timeout_s: float) -> Outcome:
        """Serve the request, but abandon it after `timeout_s` in seconds."""
        env = self.source.env
        work = env.process(self.serve())
        yield work | After(env, env.now + timeout_s, GIVE_UP)
        if work.is_alive:
            work.interrupt(TIMED_OUT)
        outcome: str = yield work
        return outcome

    def serve(self) -> Outcome:
        """Send the request, compute and answer it; it is lost if the user's device goes away or a link fails."""
        try:
            yield from self.source.user.attend(self._steps())
        except QueueFull:
            return "refused"
        except simpy.Interrupt as interrupt:
            return "timed_out" if interrupt.cause == TIMED_OUT else "lost"
        return "served"

    def _steps(self) -> Process[None]:
        user, server, kind = self.source.user, self.server, self.source.kind
        yield from user.send(server, self.uplink_bits, kind)
        self.start_s = self.source.env.now
        yield from server.processor.compute(self.flops, kind, 0, user.number, refusable=True)
        yield from server.send(user, self.downlink_bits, kind)
